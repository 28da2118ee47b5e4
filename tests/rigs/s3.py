"""How do the tests get a real S3 server, and how is it stopped, stalled and brought back?"""

import http.client
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from consumer.demo import weed
from consumer.leash import tail
from tests.rigs.deadline import wait_until

ACCESS_KEY = "inspection-tests"
SECRET_KEY = "not-a-secret-of-anybody"
REGION = weed.REGION
_START_SECONDS = 30
_PROBE = "rig-probe"  # a bucket of the rig's own


class S3Server:
    """SeaweedFS in one process on 127.0.0.1, with one pair of keys; its objects outlive `stop`, not `close`.

    A bucket has to be created: a write to another one fails with NoSuchBucket.
    """

    def __init__(self, *, options: Sequence[str] = ()) -> None:
        """`options` are more of `weed mini`'s."""
        self._folder = Path(tempfile.mkdtemp(prefix="inspection-s3-"))
        self._weed = weed.Weed(self._folder, access_key=ACCESS_KEY, secret_key=SECRET_KEY, options=options)
        self._has_bucket = self._has_probe = False  # the rig's own, see _reaches_its_disk
        self.client = client_of(self.endpoint_url)

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
        return self._weed.endpoint_url

    @property
    def environment(self) -> dict[str, str]:
        """The variables that give a client these credentials."""
        return dict(self._weed.environment)

    @property
    def process_id(self) -> int:
        return self._weed.process_id

    def create_bucket(self, bucket: str) -> None:
        self.client.create_bucket(Bucket=bucket)

    def put(self, bucket: str, key: str, body: bytes, **arguments: str) -> None:
        """Write an object; for some seconds after a restart SeaweedFS refuses some writes, so it may take as long."""

        def is_written() -> bool:
            assert self.process_id
            try:
                self.client.put_object(Bucket=bucket, Key=key, Body=body, **arguments)
            except BotoCoreError:
                return False
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] < http.HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise
                return False
            return True

        wait_until(
            is_written, within=_START_SECONDS, what=lambda: f"s3://{bucket}/{key} is written\n{tail(self._weed.log)}"
        )

    def get(self, bucket: str, key: str) -> bytes:
        body: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def start(self) -> None:
        """Start on the same ports and objects as before; return when it answers."""
        self._weed.start()
        self._weed.wait(within=_START_SECONDS)
        wait_until(
            self._reaches_its_disk, within=_START_SECONDS, what=lambda: f"S3 reaches its disk\n{tail(self._weed.log)}"
        )

    def stop(self) -> None:
        """Kill it as a power cut would; connections are refused from now on, objects stay."""
        self._weed.stop()

    def pause(self) -> None:
        """Stall it: connections are taken, nothing is answered."""
        self._weed.pause()

    def resume(self) -> None:
        self._weed.resume()

    def close(self) -> None:
        """Kill it and delete its objects."""
        self.client.close()
        self._weed.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _reaches_its_disk(self) -> bool:
        """Say whether an object can be read back: just after a start the gateway does not yet know its volumes."""
        try:
            if not self._has_probe:
                self._has_bucket = self._has_bucket or bool(self.client.create_bucket(Bucket=_PROBE))
                self._has_probe = bool(self.client.put_object(Bucket=_PROBE, Key="key", Body=b"probe"))
            return self.get(_PROBE, "key") == b"probe"
        except (ClientError, BotoCoreError):
            return False


def client_of(
    endpoint_url: str, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY
) -> Any:  # boto3 makes its clients at run time: they have no type
    return boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
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
