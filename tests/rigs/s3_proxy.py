"""What does a store look like that fails, for one object or for all of them?"""

import http.client
import socket
import struct
import threading
from collections import Counter
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import unquote, urlsplit

from consumer.demo.ports import free_port
from tests.rigs.s3 import S3Server

_NOT_PASSED_ON = {"connection", "content-length", "keep-alive", "transfer-encoding"}
_SECONDS = 30


class Fault(Enum):
    """How a request fails."""

    ERROR = "500 InternalError"
    SLOW_DOWN = "503 SlowDown"
    DENIED = "403 AccessDenied"
    RESET = "the connection is reset"
    CUT = "half of the body, then the end"
    SILENCE = "no answer until it is healed"
    STALL = "half of the body, and nothing more until it is healed"
    REFUSED = "connections are refused, open ones reset"


class S3Proxy:
    """Passes GET and HEAD on to a real S3, as they are, and fails those that it is told to fail.

    A client signs for the address that it talks to: the proxy's, which the store is shown as Host.
    """

    def __init__(self, store: S3Server) -> None:
        self.upstream = urlsplit(store.endpoint_url).netloc
        self._faults: dict[str | None, Fault] = {}
        self._asked: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._port = free_port()  # it stays ours while connections are refused
        self._server: _Server | None = _Server(self, self._port)

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self.heal()
        self._close()

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def fail(self, fault: Fault, key: str | None = None) -> None:
        """From now on requests for this key fail so, or all requests. Only all of them can be refused."""
        with self._changed:
            self._faults[key] = fault
            self._changed.notify_all()
        if fault is Fault.REFUSED:
            self._close()

    def heal(self) -> None:
        """Everything works again, and what was kept waiting is closed."""
        with self._changed:
            self._faults.clear()
            self._changed.notify_all()
        if self._server is None:
            self._server = _Server(self, self._port)
            self._open()

    def asked(self, key: str) -> int:
        """How often this key was asked for."""
        with self._changed:
            return self._asked[key]

    # --- for the connections --------------------------------------------------------------------------------------

    def receive(self, key: str) -> Fault | None:
        with self._changed:
            self._asked[key] += 1
            return self._fault_of(key)

    def wait_while(self, fault: Fault, key: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._fault_of(key) is not fault)

    def _fault_of(self, key: str) -> Fault | None:
        return self._faults.get(key, self._faults.get(None))

    # --- the door -------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        assert self._server is not None
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="s3-proxy", daemon=True).start()

    def _close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, proxy: S3Proxy, port: int) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", port), _Connection)

    def handle_error(self, *_: object) -> None:
        """A client that gave up is no error of ours."""


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits 40 ms for the acknowledgement of its head
    server: _Server

    def setup(self) -> None:
        super().setup()
        self._upstream = http.client.HTTPConnection(self.server.proxy.upstream, timeout=_SECONDS)

    def finish(self) -> None:
        self._upstream.close()
        super().finish()

    def do_GET(self) -> None:
        key = unquote(urlsplit(self.path).path).split("/", 2)[-1]
        proxy = self.server.proxy
        match proxy.receive(key):
            case Fault.RESET | Fault.REFUSED:
                self._reset()
            case Fault.SILENCE:
                proxy.wait_while(Fault.SILENCE, key)
                self.close_connection = True
            case Fault.CUT | Fault.STALL as fault:
                self._answer(*self._ask(), cut=True)
                if fault is Fault.STALL:
                    proxy.wait_while(fault, key)
            case Fault() as fault:
                status, code = fault.value.split()
                body = f"<Error><Code>{code}</Code><Message>told to</Message></Error>".encode()
                self._answer(int(status), {"Content-Type": "application/xml"}, body)
            case None:
                self._answer(*self._ask())

    do_HEAD = do_GET  # noqa: N815

    def _ask(self) -> tuple[int, dict[str, str], bytes]:
        """Ask over the connection that this client's last request used, or over a new one if that was closed."""
        try:
            return self._ask_once()
        except (http.client.HTTPException, ConnectionError):
            self._upstream.close()
            return self._ask_once()

    def _ask_once(self) -> tuple[int, dict[str, str], bytes]:
        self._upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            self._upstream.putheader(name, value)
        self._upstream.endheaders()
        answer = self._upstream.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()

    def _answer(self, status: int, headers: dict[str, str], body: bytes, *, cut: bool = False) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in _NOT_PASSED_ON:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut

    def _reset(self) -> None:
        """Without lingering a close is a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """What is asked for is counted, not printed."""
