"""How does a test get a broker's door without the broker: TLS or none, SASL or none, in milliseconds?"""

import contextlib
import socketserver
import ssl
import struct
import threading
from typing import Self, cast

NOT_BY_SASL, UNSUPPORTED_MECHANISM = 34, 33


class Listener:
    """Speaks as Kafka's listeners do before anybody is let in: it answers SaslHandshake, and hangs up at all else."""

    def __init__(self, mechanisms: tuple[str, ...] = (), *, tls: ssl.SSLContext | None = None) -> None:
        """Without `mechanisms` it knows no SASL."""
        self.mechanisms = mechanisms
        self.tls = tls
        self._server = _Server(("127.0.0.1", 0), _Conversation)
        self._server.listener = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="listener", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    listener: Listener


class _Conversation(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        listener = cast(_Server, self.server).listener
        with contextlib.suppress(OSError, struct.error):
            self.request.settimeout(5)
            if listener.tls is None:
                self._answer(self.request, listener.mechanisms)
                return
            with listener.tls.wrap_socket(self.request, server_side=True) as secured:
                self._answer(secured, listener.mechanisms)

    def _answer(self, connection: ssl.SSLSocket, mechanisms: tuple[str, ...]) -> None:
        size, key, _, correlation = struct.unpack(">ihhi", connection.recv(12))
        if key != 17 or size > 1000:
            return
        connection.recv(1000)
        body = struct.pack(">ihi", correlation, UNSUPPORTED_MECHANISM if mechanisms else NOT_BY_SASL, len(mechanisms))
        body += b"".join(struct.pack(">h", len(name)) + name.encode() for name in mechanisms)
        connection.sendall(struct.pack(">i", len(body)) + body)
