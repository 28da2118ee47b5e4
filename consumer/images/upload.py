"""How do images get into a bucket: many at once, none sent twice, in a bounded window?"""

import hashlib
import mimetypes
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from io import SEEK_END, BufferedReader, BytesIO
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self

from botocore.exceptions import BotoCoreError, ClientError

from consumer.errors import SettingsError
from consumer.images.access import S3Access
from consumer.images.objects import ask

PARALLEL = 8
_WINDOW = 4 * PARALLEL  # asked for ahead of the one that is waited for
_FAREWELL = 3.0
_TYPES = {".webp": "image/webp"}  # not in every machine's table


@dataclass(frozen=True, slots=True)
class Uploaded:
    """An image that now lies at `key`; `is_new` is False when the same bytes lay there before."""

    key: str
    size: int
    is_new: bool


def upload(
    access: S3Access, bucket: str, images: Iterable[tuple[str, bytes | Path]], *, parallel: int = PARALLEL
) -> Iterator[Uploaded]:
    """Put images, each a key with its bytes or its file, and yield each in order as soon as it is there.

    The content type follows from the key's suffix. An object that has these bytes already (its ETag is their MD5, as
    S3 makes it) is left alone, another one of that key is overwritten. Files are streamed. `images` is drawn from a
    window of 32 ahead. Raises SettingsError (no such bucket, denied, unreadable file) or Unavailable; what was
    under way has 3 seconds to finish before.
    """
    waiting: deque[Future[Uploaded]] = deque()
    with _Threads(parallel) as threads:
        for key, content in images:
            waiting.append(threads.submit(partial(_put, access, bucket, key, content, sleep=threads.stopping.wait)))
            if len(waiting) >= _WINDOW:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class _Threads:
    """An executor whose threads keep no process from ending: a store that says nothing holds each for a minute."""

    def __init__(self, count: int) -> None:
        self.stopping = threading.Event()
        self._tasks: SimpleQueue[tuple[Future[Uploaded], Callable[[], Uploaded]] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"upload-{number}", daemon=True) for number in range(count)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for _thread in self._threads:
            self._tasks.put(None)
        end = time.monotonic() + _FAREWELL
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def submit(self, call: Callable[[], Uploaded]) -> Future[Uploaded]:
        future: Future[Uploaded] = Future()
        self._tasks.put((future, call))
        return future

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            future, call = task
            if self.stopping.is_set():
                continue
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001  # raised where the result is asked for
                future.set_exception(error)


def _put(
    access: S3Access, bucket: str, key: str, content: bytes | Path, *, sleep: Callable[[float], bool | None]
) -> Uploaded:
    size, digest = _measure(content)
    if _etag(access, bucket, key) == digest:
        return Uploaded(key, size, is_new=False)
    write = partial(_put_object, access.boto3_client, bucket, key, content)
    ask(write, f"s3://{bucket}/{key} cannot be written", sleep=sleep)
    return Uploaded(key, size, is_new=True)


def _put_object(client: Any, bucket: str, key: str, content: bytes | Path) -> None:
    with BytesIO(content) if isinstance(content, bytes) else _open(content) as body:
        client.put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type(key))


def _measure(content: bytes | Path) -> tuple[int, str]:
    """Size and MD5 in hex."""
    with BytesIO(content) if isinstance(content, bytes) else _open(content) as body:
        digest = hashlib.file_digest(body, partial(hashlib.md5, usedforsecurity=False)).hexdigest()
        return body.seek(0, SEEK_END), digest


def _open(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        raise SettingsError(f"file {path} cannot be read: {error.strerror}") from error


def _etag(access: S3Access, bucket: str, key: str) -> str | None:
    """The ETag of what lies there. None too where we may not look: then it is written."""
    try:
        return str(access.boto3_client.head_object(Bucket=bucket, Key=key)["ETag"]).strip('"')
    except (BotoCoreError, ClientError):  # a HEAD's answer has no body that would say why; the PUT's has
        return None


def content_type(key: str) -> str:
    """By the suffix; what is unknown is octets."""
    return _TYPES.get(Path(key).suffix.lower()) or mimetypes.guess_type(key)[0] or "application/octet-stream"
