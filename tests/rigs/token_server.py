"""Who gives a client an OAuth token, and by which keys does a broker know that it is genuine?"""

import base64
import json
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.rigs.certificates import Pair

AUDIENCE = "kafka"
ISSUER = "https://issuer.example"
CLIENT_SECRET = "not-a-client-secret-of-anybody"
KEY_ID = "one"
LIFE = 300
BRIEF = 6  # seconds that the tokens of the client `brief` live
# What is wrong with the token of a client, by its id; that of all others is good.
FLAWS: Mapping[str, Mapping[str, Any]] = {
    "expired": {"exp": 1_000_000_000, "iat": 999_999_000},
    "elsewhere": {"aud": "another-service"},
}


class TokenServer:
    """Answers `client_credentials` over TLS. The subject of every token is `line`, whoever asks with the right secret;
    what verifies it stands in `keys`."""

    def __init__(self, pair: Pair) -> None:
        self.given = 0
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.socket = pair.of_a_server.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="tokens", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._server.server_address[1]}/token"

    @property
    def keys(self) -> dict[str, Any]:
        public = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {"keys": [{**public, "kid": KEY_ID, "use": "sig", "alg": "RS256"}]}

    def token(self, client: str) -> dict[str, Any]:
        now = int(time.time())
        life = BRIEF if client == "brief" else LIFE
        claims = {"iss": ISSUER, "sub": "line", "aud": AUDIENCE, "iat": now, "exp": now + life}
        claims |= FLAWS.get(client, {})
        self.given += 1
        token = jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": KEY_ID})
        return {"access_token": token, "token_type": "Bearer", "expires_in": life}


def _handler(server: TokenServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            client, secret = _login(self.headers.get("Authorization", ""))
            if secret != CLIENT_SECRET or form.get("grant_type") != ["client_credentials"]:
                self._answer(HTTPStatus.UNAUTHORIZED, {"error": "invalid_client"})
                return
            self._answer(HTTPStatus.OK, server.token(client))

        def _answer(self, status: HTTPStatus, document: Mapping[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Nothing: a test prints no access log."""

    return Handler


def _login(authorization: str) -> tuple[str, str]:
    """Client and secret of an `Authorization: Basic …` header."""
    client, _, secret = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
    return unquote(client), unquote(secret)
