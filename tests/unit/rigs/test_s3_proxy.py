"""Is a store that refuses connections one, and does it come back on the same port?"""

import http.client
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace
from typing import cast
from urllib.parse import urlsplit

import pytest

from tests.rigs.s3 import S3Server
from tests.rigs.s3_proxy import Fault, S3Proxy


class _Store(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"body")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[S3Proxy]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Store) as server:
        thread = Thread(target=HTTPServer.serve_forever, args=(server, 0.02))
        thread.start()
        store = SimpleNamespace(endpoint_url=f"http://127.0.0.1:{server.server_port}")
        with S3Proxy(cast(S3Server, store)) as passing:
            yield passing
        server.shutdown()
        thread.join()


def ask(connection: http.client.HTTPConnection) -> bytes:
    connection.request("GET", "/bucket/a.jpg")
    return connection.getresponse().read()


def test_connections_are_refused_and_open_ones_reset_until_it_is_healed(proxy: S3Proxy) -> None:
    address = urlsplit(proxy.endpoint_url).netloc
    kept = http.client.HTTPConnection(address, timeout=5)
    assert ask(kept) == b"body"
    proxy.fail(Fault.REFUSED)
    with pytest.raises(ConnectionResetError):
        ask(kept)
    kept.close()
    with pytest.raises(ConnectionRefusedError):
        ask(http.client.HTTPConnection(address, timeout=5))
    proxy.heal()
    again = http.client.HTTPConnection(address, timeout=5)
    assert [ask(again), ask(again)] == [b"body", b"body"]
    again.close()
