"""What would a store say that a real one rarely says? Answers byte by byte, on a real socket."""

import contextlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Self
from urllib.parse import unquote_to_bytes

Answer = bytes | Callable[[], Iterable[bytes]]


def answer(
    body: bytes = b"", *, status: str = "200 OK", length: int | None = None, headers: tuple[str, ...] = ('ETag: "e1"',)
) -> bytes:
    """An HTTP answer; `length` is what it says of its body, true unless given."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", "Connection: close"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def s3_error(status: str, code: str) -> bytes:
    return answer(f"<Error><Code>{code}</Code><Message>said the stub</Message></Error>".encode(), status=status)


class StubStore:
    """Gives each request the next of `answers`, the last one again and again; keeps what was asked."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.answers: list[Answer] = []
        self.requests: list[str] = []
        self.reset()
        self._is_over = threading.Event()
        self._scheme = "https" if tls else "http"
        stub = self

        class _Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                if tls is None:
                    stub._answer(self.request)
                    return
                with (
                    contextlib.suppress(OSError),  # who asked does not trust us
                    tls.wrap_socket(self.request, server_side=True, do_handshake_on_connect=False) as connection,
                ):
                    connection.do_handshake()
                    stub._answer(connection)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = False  # `__exit__` waits for them

    def __enter__(self) -> Self:
        # A short poll, since `shutdown` waits for its end.
        threading.Thread(target=self._server.serve_forever, args=(0.01,), name="stub-store").start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def endpoint_url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    @property
    def targets(self) -> list[str]:
        """The request targets as they stood on the wire, without their query."""
        return [request.split(" ")[1].partition("?")[0] for request in self.requests]

    @property
    def paths(self) -> list[bytes]:
        """The targets with their escapes resolved, once."""
        return [unquote_to_bytes(target) for target in self.targets]

    def say(self, *answers: Answer) -> None:
        self.answers = list(answers)

    def reset(self) -> None:
        self.requests.clear()
        self.say(s3_error("404 Not Found", "NoSuchKey"))

    def stall(self) -> Iterator[bytes]:
        """An answer that never comes while the tests last."""
        self._is_over.wait()
        yield b""

    def trickle(self) -> Iterator[bytes]:
        """An answer that comes, but byte by byte."""
        yield answer(length=1000)
        while not self._is_over.wait(0.05):
            yield b"x"

    def _answer(self, connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            if not (more := connection.recv(65536)):
                return
            request += more
        self.requests.append(request.decode())
        said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        with contextlib.suppress(OSError):  # who asked has gone
            for part in said() if callable(said) else (said,):
                connection.sendall(part)
