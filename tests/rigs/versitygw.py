"""How do the tests get a store that publishes its bucket events to Kafka?"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from botocore.exceptions import BotoCoreError, ClientError

from consumer.demo.ports import free_port
from consumer.leash import kill, spawn, tail
from tests.rigs.deadline import wait_until
from tests.rigs.kafka_jars import ROOT
from tests.rigs.s3 import ACCESS_KEY, REGION, SECRET_KEY, client_of

VERSION = "v1.8.0"
_MODULE = "github.com/versity/versitygw/cmd/versitygw"
_BUILD_SECONDS = 900
_START_SECONDS = 30


def missing_go() -> str | None:
    """Return why versitygw cannot be built on this machine, or None when it can."""
    return None if shutil.which("go") else "go is not on the PATH"


class Versitygw:
    """A gateway of S3 to a folder on 127.0.0.1, with one pair of keys. It publishes to a topic that must exist."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self._binary = build()
        self._folder = Path(tempfile.mkdtemp(prefix="inspection-versitygw-"))
        self._log = self._folder / "versitygw.log"
        self._port = free_port()
        self._events = {"VGW_EVENT_KAFKA_URL": bootstrap_servers, "VGW_EVENT_KAFKA_TOPIC": topic}
        self._process: subprocess.Popen[bytes] | None = None
        self.client = client_of(self.endpoint_url)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that give a client these credentials."""
        return {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": REGION}

    def close(self) -> None:
        self.client.close()
        if self._process is not None:
            kill(self._process)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        objects = self._folder / "objects"
        objects.mkdir()
        keys = {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
        command: list[str | Path] = [self._binary, "--port", f"127.0.0.1:{self._port}", "posix", objects]
        environment = {**os.environ, **keys, **self._events}
        self._process = spawn(command, log=self._log, environment=environment, folder=self._folder)
        wait_until(self._answers, within=_START_SECONDS, what=lambda: f"versitygw answers\n{tail(self._log)}")

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"versitygw ended with {self._process.returncode}\n{tail(self._log)}")
        try:
            self.client.list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True


def build() -> Path:
    """Return the binary; the first call builds it (some minutes), calls of other processes wait for that."""
    cache = ROOT / ".cache" / "versitygw"
    binary = cache / VERSION / "versitygw"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            _build(binary)
    return binary


def _build(binary: Path) -> None:
    """Let Go fill a folder beside, then rename it: a folder of that name is always complete."""
    with tempfile.TemporaryDirectory(dir=binary.parent.parent) as scratch:
        environment = {**os.environ, "GOBIN": scratch, "CGO_ENABLED": "0"}
        command = ["go", "install", f"{_MODULE}@{VERSION}"]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False, env=environment
        )
        if done.returncode:
            raise RuntimeError(f"Go could not build versitygw:\n{done.stdout}{done.stderr}")
        binary.parent.mkdir(exist_ok=True)
        (Path(scratch) / binary.name).rename(binary)
