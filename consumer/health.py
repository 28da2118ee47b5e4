"""Is the process alive, is it ready, and what are its numbers: /livez, /readyz and /metrics on one port."""

import json
import logging
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol, Self

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from consumer.errors import SettingsError
from consumer.settings import HttpSettings

logger = logging.getLogger(__name__)

CLOSE_POLL = 0.05  # seconds that closing the server may take
STALL = 60.0  # seconds without a turn of the loop after which the process is no longer alive


class Numbers(Protocol):
    """What a process counts; both kinds have these two."""

    @property
    def registry(self) -> CollectorRegistry: ...
    @property
    def ready(self) -> Gauge: ...


class Health:
    """What the checks say: a reason while red, None while green. Written from any thread."""

    def __init__(self, metrics: Numbers, checks: tuple[str, ...]) -> None:
        self._reasons: dict[str, str | None] = dict.fromkeys(checks, "starting")
        self._last_turn: float | None = None
        metrics.ready.set_function(lambda: self.is_ready)

    def set(self, check: str, reason: str | None) -> None:
        """Make a check green (None) or red; a change is one log line."""
        before = self._reasons[check]
        if before == reason:
            return
        self._reasons[check] = reason
        if reason is not None and before != "starting":
            logger.warning("not ready", extra={"check": check, "reason": reason})
        elif self.is_ready:
            logger.info("ready")

    def turned(self) -> None:
        """The loop goes round; from the first call on it must keep doing so."""
        self._last_turn = time.monotonic()

    @property
    def is_turning(self) -> bool:
        """Whether the loop goes round as it must; False before its first turn."""
        return self._last_turn is not None and self._still <= STALL

    @property
    def _still(self) -> float:
        return 0.0 if self._last_turn is None else time.monotonic() - self._last_turn

    @property
    def is_ready(self) -> bool:
        return not any(self._reasons.values())

    @property
    def readiness(self) -> dict[str, str]:
        return {check: reason or "ok" for check, reason in self._reasons.items()}

    @property
    def liveness(self) -> dict[str, str]:
        still = self._still
        return {"loop": f"no turn for {still:.0f} s" if still > STALL else "ok"}


class HealthServer:
    """Serves the pages from a thread of its own, named `http`, while the `with` lasts."""

    def __init__(self, settings: HttpSettings, health: Health, metrics: Numbers) -> None:
        try:
            self._server = ThreadingHTTPServer((settings.host, settings.port), _pages(health, metrics))
        except OSError as error:
            address = f"{settings.host}:{settings.port}"
            raise SettingsError(f"http.host, http.port: cannot listen on {address}: {error.strerror}") from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(CLOSE_POLL,), name="http", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        host, port = self._server.server_address[:2]
        logger.info("http is listening", extra={"host": str(host), "port": port})
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _pages(health: Health, metrics: Numbers) -> type[BaseHTTPRequestHandler]:
    class Pages(BaseHTTPRequestHandler):
        server_version = "consumer"
        timeout = 10.0

        def do_GET(self) -> None:  # the base class's name
            match self.path.partition("?")[0]:
                case "/livez":
                    self._checks(health.liveness)
                case "/readyz":
                    self._checks(health.readiness)
                case "/metrics":
                    self._answer(200, CONTENT_TYPE_LATEST, generate_latest(metrics.registry))
                case path:
                    self._answer(404, "application/json", json.dumps({"path": f"{path} is not here"}).encode())

        do_HEAD = do_GET  # noqa: N815

        def _checks(self, checks: dict[str, str]) -> None:
            is_green = all(reason == "ok" for reason in checks.values())
            self._answer(200 if is_green else 503, "application/json", json.dumps(checks).encode())

        def _answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """A scrape every few seconds is no event that someone acts on."""

    return Pages
