"""The bytes of one image in S3, or the reason why there are none."""

import hashlib
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import obstore
from botocore.response import StreamingBody
from obstore.store import S3Store

from consumer.errors import Rejected, SettingsError, Unavailable
from consumer.images.access import STALL_TIMEOUT, S3Access
from consumer.images.failures import MISCONFIGURED, judged
from consumer.images.names import client_for, is_bucket
from consumer.messages import ImageReference
from consumer.settings import ImageSettings, S3Settings

PROBE_KEY = "inspection-consumer/probe-of-a-key-that-never-exists"
PROBE_TIMEOUT = 5.0
_MAX_CLIENTS = 64  # with `allowed_buckets: ["*"]` jobs name as many buckets as they like
_CHUNK = 2**20
_MAX_HELD = 1.0  # seconds after which an answer that nobody reads is asked for again
_ETAG = re.compile(r"[\x21\x23-\x7e]+")


@dataclass(frozen=True, slots=True)
class FetchedImage:
    """An object's bytes, their SHA-256 in hex, and what S3 calls this state of it; `etag` has no quotes."""

    content: bytes
    sha256: str
    etag: str | None
    version_id: str | None


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the head of S3's answer says; nothing of the body is read yet."""

    size: int
    etag: str | None
    version_id: str | None
    chunks: Iterator[bytes]
    close: Callable[[], None] = lambda: None  # obstore's closes itself


class ImageStore:
    """Reads images, each in one attempt: who calls decides what is tried again. Safe to use from many threads.

    A client is kept for each pair of bucket and time-out: pass the same `timeout` every time.
    """

    def __init__(self, s3: S3Settings, images: ImageSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._access = S3Access(s3)
        self._images = images
        self._clock = clock
        self._clients: OrderedDict[tuple[str, float], S3Store] = OrderedDict()
        self._lock = threading.Lock()

    def fetch(self, image: ImageReference, *, reserve: Callable[[int], None], timeout: float) -> FetchedImage:
        """Get one object, `reserve` its size before its body is read, and give its bytes.

        `reserve` is called once; it may block or raise, and what it reserved is the caller's to release, also when
        this raises. The GET takes `timeout` seconds at most, and `STALL_TIMEOUT` without a byte.

        Errors: `Rejected` (schema_invalid, image_not_found, image_forbidden, image_changed, image_too_large) or
        `Unavailable`, by what S3 answered.
        """
        with self._open(image, timeout) as answer:
            asked = self._clock()
            reserve(answer.size)
            if self._clock() - asked <= _MAX_HELD:
                return self._take(image, answer, timeout)
        # The store or the time-out may have ended an answer that nobody read, which would look like an outage.
        with self._open(image, timeout) as again:
            if again.size > answer.size:
                raise Unavailable("changing", f"{image.uri} grew while it waited for room")
            return self._take(image, again, timeout)

    def probe(self, bucket: str, timeout: float = PROBE_TIMEOUT) -> None:
        """Return if the store answers for this bucket, which `s3:GetObject` alone must be enough for.

        It asks for a key that does not exist: S3 says NoSuchKey, or AccessDenied where listing is not granted. Raises
        `Unavailable` with the code for any other answer, or none.
        """
        try:
            self._open_by_obstore(ImageReference(bucket, PROBE_KEY), timeout)
        except Rejected:
            return

    def check(self) -> None:
        """At start: does every bucket of `images.allowed_buckets` answer with these credentials?

        Raises `SettingsError` for what waiting will not mend, `Unavailable` for what it may.
        """
        self._access.check_credentials()
        for bucket in self._images.allowed_buckets:
            if bucket != "*":
                self._check(bucket)

    def _check(self, bucket: str) -> None:
        if not is_bucket(bucket):
            raise SettingsError(f"images.allowed_buckets: {bucket!r} is no bucket name that S3 allows")
        try:
            self.probe(bucket, STALL_TIMEOUT)
        except Unavailable as error:
            if error.code not in MISCONFIGURED:
                raise
            where = self._access.address(bucket)
            raise SettingsError(f"s3: bucket {bucket} at {where} cannot be read: {error}") from error

    @contextmanager
    def _open(self, image: ImageReference, timeout: float) -> Iterator[_Answer]:
        """Ask for the object and look at the head of the answer."""
        if client_for(image.bucket, image.key) == "obstore":
            answer = self._open_by_obstore(image, timeout)
        else:
            answer = self._open_by_boto3(image)
        try:
            self._accept(image, answer)
            yield answer
        finally:
            answer.close()

    def _accept(self, image: ImageReference, answer: _Answer) -> None:
        limit = self._images.max_bytes
        if answer.size > limit:
            message = f"image {image.uri} is {megabytes(answer.size)}, limit {megabytes(limit)} (images.max_bytes)"
            raise Rejected("image_too_large", message, stage="fetch")
        if image.version_id and image.version_id != (answer.version_id or "null"):
            message = f"image {image.uri} has the version {answer.version_id}, not {image.version_id}"
            raise Rejected("image_changed", message, stage="fetch")

    def _take(self, image: ImageReference, answer: _Answer, timeout: float) -> FetchedImage:
        with judged(image):
            content = _read(answer, image, self._clock() + timeout, self._clock)
        return FetchedImage(content, hashlib.sha256(content).hexdigest(), answer.etag, answer.version_id)

    def _open_by_obstore(self, image: ImageReference, timeout: float) -> _Answer:
        options: obstore.GetOptions = {}
        if image.etag:
            options["if_match"] = _if_match(image)
        if image.version_id:
            options["version"] = image.version_id
        with judged(image):
            client = self._client(image.bucket, timeout)
            result = obstore.get(client, image.key, options=options)
        meta = result.meta
        chunks = result.stream(min_chunk_size=_CHUNK)
        return _Answer(meta["size"], _bare(meta["e_tag"]), meta["version"], chunks)

    def _open_by_boto3(self, image: ImageReference) -> _Answer:
        conditions = {}
        if image.etag:
            conditions["IfMatch"] = _if_match(image)
        if image.version_id:
            conditions["VersionId"] = image.version_id
        with judged(image):
            got = self._access.boto3_client.get_object(Bucket=image.bucket, Key=image.key, **conditions)
        body = got["Body"]
        chunks = StreamingBody(_Arriving(body._raw_stream), got["ContentLength"]).iter_chunks(_CHUNK)
        return _Answer(got["ContentLength"], _bare(got.get("ETag")), got.get("VersionId"), chunks, body.close)

    def _client(self, bucket: str, timeout: float) -> S3Store:
        with self._lock:
            if client := self._clients.get((bucket, timeout)):
                self._clients.move_to_end((bucket, timeout))
                return client
        client = self._access.obstore_client(bucket, timeout)  # may have to wait for new credentials
        with self._lock:
            self._clients[bucket, timeout] = client
            if len(self._clients) > _MAX_CLIENTS:
                self._clients.popitem(last=False)
        return client


@dataclass(frozen=True, slots=True)
class _Arriving:
    """botocore's raw body, read as it arrives: to wait for a whole chunk of a body that drips would take days."""

    raw: Any

    def read(self, size: int) -> bytes:
        arrived: bytes = self.raw.read1(size)
        return arrived


def _read(answer: _Answer, image: ImageReference, end: float, clock: Callable[[], float]) -> bytes:
    """The whole body: not a byte less, which would look like a broken image, and none more than was reserved."""
    chunks: list[bytes] = []
    size = 0
    for chunk in answer.chunks:
        chunks.append(chunk)
        size += len(chunk)
        if clock() > end:
            raise Unavailable("timeout", f"image {image.uri} did not arrive in time, {size} of {answer.size} bytes did")
        if size > answer.size:
            break
    if size != answer.size:
        raise Unavailable("wrong_length", f"image {image.uri} came with {size} bytes or more, not {answer.size}")
    return b"".join(chunks)


def megabytes(size: int) -> str:
    return f"{size / 1e6:.6f}".rstrip("0").rstrip(".") + " MB"


def _bare(etag: str | None) -> str | None:
    """An ETag as S3's events write it: `"abc"` is `abc`."""
    return etag.removeprefix("W/").strip('"') if etag else None


def _if_match(image: ImageReference) -> str:
    etag = _bare(image.etag) or ""
    if not _ETAG.fullmatch(etag):
        raise Rejected("schema_invalid", f"{image.etag!r} of image {image.uri} is no ETag", stage="fetch")
    return f'"{etag}"'
