"""Where do audit objects lie in S3, and how are they written so that two writers cannot spoil each other's?

boto3 writes and lists; what is read a row group at a time is read by Parquet's own reader, see `reading`.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from consumer.errors import SettingsError
from consumer.images.access import S3Access
from consumer.images.listing import listed, pages
from consumer.images.objects import ask
from consumer.settings import AuditSettings

_NOT_MET = frozenset({404, 409, 412})  # If-Match on a missing object; two conditional writes at once; not met
_TYPES = {"json": "application/json", "parquet": "application/vnd.apache.parquet"}
_PROBE = "_probe.json"


class S3Shelf:
    """Objects below a prefix of a bucket; paths are without the prefix. Raises SettingsError for what waiting does not
    mend, Unavailable for what it may."""

    def __init__(
        self, access: S3Access, bucket: str, prefix: str, *, sleep: Callable[[float], bool | None] | None = None
    ) -> None:
        """`sleep` waits between attempts and returns True to give up, see `ask`."""
        self._access = access
        self._client = access.boto3_client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._ask = partial(ask, sleep=sleep) if sleep else ask

    @property
    def name(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def reading(self) -> dict[str, Any]:
        return self._access.polars_options()

    def location(self, path: str) -> str:
        return f"s3://{self._bucket}/{self._prefix}{path}"

    # --- reading --------------------------------------------------------------------------------------------------

    def folders(self, path: str) -> list[str]:
        begin = f"{self._prefix}{path}/" if path else self._prefix
        found = [
            entry["Prefix"].removeprefix(begin).rstrip("/")
            for page in pages(self._access, self._bucket, begin, {"Delimiter": "/"}, ask=self._ask)
            for entry in page.get("CommonPrefixes", ())
        ]
        return sorted(found)

    def objects(self, path: str) -> Iterator[tuple[str, int]]:
        begin = f"{self._prefix}{path}/" if path else self._prefix
        for one in listed(self._access, self._bucket, begin):
            yield one.key.removeprefix(self._prefix), one.size

    def read(self, path: str) -> bytes | None:
        found = self.read_tagged(path)
        return None if found is None else found[0]

    def read_tagged(self, path: str) -> tuple[bytes, str] | None:
        """Content and ETag of one object; None where there is none."""

        def get() -> tuple[bytes, str] | None:
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + path)
                return answer["Body"].read(), answer["ETag"]
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
                    return None
                raise

        return self._ask(get, f"{self.location(path)} cannot be read")

    # --- writing --------------------------------------------------------------------------------------------------

    def create(self, path: str, content: bytes, settings: AuditSettings) -> bool:
        """Write an object that is not there; False, and nothing changed, where one is."""
        return self._put(path, content, settings, IfNoneMatch="*") is not None

    def replace(self, path: str, content: bytes, settings: AuditSettings, *, etag: str | None) -> str | None:
        """Write it in place of the version with this ETag (None: of nothing). The new ETag; None where meanwhile
        another one lies there."""
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        return self._put(path, content, settings, **condition)

    def check(self, settings: AuditSettings) -> None:
        """Try what the audit rests on, with a small object that stays: it can be written, listed and read, and a second
        creation of the same name is refused. Raises SettingsError where one of them is not so."""
        self.create(_PROBE, b'{"schema": "inspection.audit-probe/1"}\n', settings)
        if self.create(_PROBE, b'{"schema": "inspection.audit-probe/1"}\n', settings):
            raise SettingsError(
                f"audit.bucket: {self.name} lets an object be created twice: the store does not know If-None-Match, "
                "so two auditors could overwrite each other's files"
            )
        self.folders("")
        self.read(_PROBE)

    def _put(self, path: str, content: bytes, settings: AuditSettings, **condition: str) -> str | None:
        asked = {
            "Bucket": self._bucket,
            "Key": self._prefix + path,
            "Body": content,
            "ContentType": _TYPES[path.rpartition(".")[2]],
            **_protection(settings),
            **condition,
        }

        def put() -> str | None:
            try:
                return str(self._client.put_object(**asked)["ETag"])
            except ClientError as error:
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
                if status in _NOT_MET and error.response.get("Error", {}).get("Code") != "NoSuchBucket":
                    return None
                raise

        return self._ask(put, f"{self.location(path)} cannot be written")


def _protection(settings: AuditSettings) -> dict[str, Any]:
    """Encryption and retention of each object, by S3's own names."""
    asked: dict[str, Any] = {}
    if settings.encryption != "bucket":
        asked["ServerSideEncryption"] = settings.encryption
    if settings.kms_key_id is not None:
        asked["SSEKMSKeyId"] = settings.kms_key_id
    if settings.object_lock != "none":
        asked["ObjectLockMode"] = settings.object_lock
        asked["ObjectLockRetainUntilDate"] = datetime.now(UTC) + timedelta(days=settings.retention_days or 0)
        asked["ChecksumAlgorithm"] = "CRC32"  # S3 asks for a digest where objects are locked
    return asked
