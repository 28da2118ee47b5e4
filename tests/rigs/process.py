"""How does a test run `consumer run` as users do, look at it from outside, and stop, stall or kill it?"""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from consumer.leash import kill, send, spawn, tail
from tests.rigs.deadline import wait_until
from tests.rigs.kafka_jars import ROOT

LISTENING = "http is listening"  # the message of the log line that names the port when http.port is 0


class ConsumerProcess:
    """`python -m consumer run`, or another command that runs, with its own settings file, log and HTTP port.

    It starts in `with` or by `start()`, and is killed at the latest when the `with` block ends.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        *,
        name: str = "consumer",
        environment: Mapping[str, str] | None = None,
        arguments: tuple[str, ...] = (),
        command: tuple[str, ...] = ("run",),
    ) -> None:
        self.name = name
        self.log_file = folder / f"{name}.log"
        self._settings_file = folder / f"{name}.yaml"
        self._environment = {**_clean_environment(), **(environment or {})}
        self._arguments = arguments
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        http_settings = {"http": {"port": 0}, "logging": {"format": "json"}}
        self._settings_file.write_text(yaml.safe_dump({**http_settings, **settings}))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> Self:
        """Start it, or start it again with the same settings; the log of a new start begins empty."""
        self.kill()
        self.log_file.unlink(missing_ok=True)
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "consumer",
            *self._command,
            "--settings",
            self._settings_file,
            *self._arguments,
        ]
        self._process = spawn(
            command, log=self.log_file, environment=self._environment, folder=self._settings_file.parent
        )
        return self

    @property
    def process_id(self) -> int:
        return self._started().pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    @property
    def log_lines(self) -> list[dict[str, Any]]:
        """The lines that are JSON objects; a traceback of a dying interpreter is not."""
        return [line for line in map(_json_object, self.log.splitlines()) if line is not None]

    def wait_ready(self, *, within: float = 60) -> None:
        """Return when /readyz says 200; raise at once when the process has ended."""
        wait_until(self._is_ready, within=within, what=lambda: f"{self.name} is ready\n{tail(self.log_file)}")

    def readyz(self) -> tuple[int, dict[str, str]]:
        """Return the status and the failing checks of /readyz."""
        return self._checks("/readyz")

    def livez(self) -> tuple[int, dict[str, str]]:
        return self._checks("/livez")

    def metrics(self) -> list[Sample]:
        """Return every sample of /metrics."""
        _, body = self._get("/metrics")
        return [sample for family in text_string_to_metric_families(body) for sample in family.samples]

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels; 0 when there is none."""
        return sum(
            sample.value for sample in self.metrics() if sample.name == name and labels.items() <= sample.labels.items()
        )

    def terminate(self) -> None:
        send(self._started(), signal.SIGTERM)

    def pause(self) -> None:
        send(self._started(), signal.SIGSTOP)

    def resume(self) -> None:
        send(self._started(), signal.SIGCONT)

    def kill(self) -> None:
        """Kill -9 and reap; nothing when it has ended or was never started."""
        if self._process is not None:
            kill(self._process)

    def wait(self, timeout: float) -> int:
        """Return the exit code (negative: the signal); raise with the log's tail after `timeout` seconds."""
        try:
            return self._started().wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.name} still runs after {timeout:g} s\n{tail(self.log_file)}") from None

    @property
    def address(self) -> str:
        """host:port of its pages; ConnectionRefusedError before it has logged them."""
        return "{}:{}".format(*self._address())

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ProcessLookupError(f"{self.name} was not started")
        return self._process

    def _is_ready(self) -> bool:
        code = self._started().poll()
        if code is not None:
            raise RuntimeError(f"{self.name} ended with {code} before it was ready\n{tail(self.log_file)}")
        try:
            return self.readyz()[0] == http.HTTPStatus.OK
        except (ConnectionError, TimeoutError):
            return False

    def _checks(self, path: str) -> tuple[int, dict[str, str]]:
        status, body = self._get(path)
        checks: dict[str, str] = json.loads(body)
        return status, checks

    def _get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(*self._address(), timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def _address(self) -> tuple[str, int]:
        for line in self.log_lines:
            if line.get("message") == LISTENING:
                return str(line["host"]), int(line["port"])
        raise ConnectionRefusedError(f"{self.name} has not logged {LISTENING!r} yet")


def _clean_environment() -> dict[str, str]:
    """Return ours without what would change settings or credentials, able to import this checkout from anywhere."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CONSUMER_", "AWS_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def _json_object(line: str) -> dict[str, Any] | None:
    try:
        parsed = json.loads(line)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None
