"""How does a process of the demo start, tell what it does, and end?"""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families

from consumer.errors import CheckFailed
from consumer.leash import kill, spawn, tail

LISTENING = "http is listening"  # the message of the log line that names the port
_LEAVING_TIME = 15.0


class Replica:
    """One real process with its own settings file: a consumer, or what else `command` says. Use it in a `with`, which
    ends it."""

    def __init__(self, name: str, settings: Path, *, log: Path, command: Sequence[str] = ("run",)) -> None:
        self.name = name
        self._log = log
        self._port: int | None = None
        line: list[str | Path] = [sys.executable, "-m", "consumer", *command, "--settings", settings]
        self._process: subprocess.Popen[bytes] = spawn(line, log=log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let it leave its group; kill it if it takes too long."""
        try:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGTERM)
                self._process.wait(_LEAVING_TIME)
        except subprocess.TimeoutExpired:
            pass
        finally:
            kill(self._process)

    def check(self) -> None:
        """Raises CheckFailed with the last line of its log when it has ended."""
        code = self._process.poll()
        if code is not None:
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with {code}"
            raise CheckFailed(f"{self.name} ended {how}; its log ends: {self._last_words()}")

    def has_done(self) -> bool:
        """Say whether it has ended with 0. Raises CheckFailed when it has ended in another way."""
        if self._process.poll() == 0:
            return True
        self.check()
        return False

    def is_ready(self) -> bool:
        """Say whether /readyz answers 200. Raises CheckFailed when it has ended."""
        self.check()
        status, _ = self._get("/readyz")
        return status == http.HTTPStatus.OK

    def metric(self, name: str) -> dict[tuple[tuple[str, str], ...], float]:
        """The samples of one metric by their labels; none when it does not answer."""
        _, body = self._get("/metrics")
        return {
            tuple(sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(body)
            for sample in family.samples
            if sample.name == name
        }

    def _get(self, path: str) -> tuple[int, str]:
        port = self._port = self._port or _port(self._log)
        if port is None:
            return 0, ""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def _last_words(self) -> str:
        """What it said last, above INFO if anything was."""
        lines = tail(self._log, lines=1000).splitlines()[1:]
        entries = [entry for entry in map(_entry, lines) if entry]
        said = [entry for entry in entries if entry.get("level") in ("WARNING", "ERROR")] or entries
        plain = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
        return str(said[-1].get("message")) if said else plain


def _port(log: Path) -> int | None:
    text = log.read_text(errors="replace") if log.exists() else ""
    return next(
        (int(line["port"]) for line in map(_entry, text.splitlines()) if line.get("message") == LISTENING), None
    )


def _entry(line: str) -> dict[str, Any]:
    try:
        parsed = json.loads(line)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
