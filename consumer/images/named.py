"""Which images do the names stand for that a person gave, and where does each come from?"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from consumer.errors import SettingsError
from consumer.images.files import LocalFiles, files_of
from consumer.images.names import is_bucket
from consumer.images.store import FetchedImage, ImageStore
from consumer.messages import ImageReference
from consumer.settings import ImageSettings, S3Settings

STANDARD_INPUT = "-"


class NamedImages:
    """The files of this machine, and a store for each bucket that was named. Fetches as `ImageStore` does."""

    def __init__(self, s3: S3Settings, images: ImageSettings, *, besides: Path | None = None) -> None:
        self._s3 = s3
        self._images = images
        self._besides = besides
        self._files = LocalFiles(images)
        self._stores: dict[str, ImageStore] = {}

    def references(self, names: Iterable[str]) -> Iterator[ImageReference]:
        """One after the other, as they are asked for: there may be millions. `-` is a list on standard input.

        Raises SettingsError or Unavailable for a bucket that cannot be read, when it is named first.
        """
        for name in names:
            if name == STANDARD_INPUT:
                yield from self.references(os.fsdecode(line.rstrip(b"\n")) for line in sys.stdin.buffer if line.strip())
            elif name.startswith("s3://"):
                bucket, _, key = name.removeprefix("s3://").partition("/")
                self._open(bucket, name)
                yield ImageReference(bucket, key)
            else:
                yield from (ImageReference("", path) for path in files_of(name, besides=self._besides))

    def fetch(self, image: ImageReference, *, reserve: Callable[[int], None], timeout: float) -> FetchedImage:
        source = self._stores[image.bucket] if image.bucket else self._files
        return source.fetch(image, reserve=reserve, timeout=timeout)

    def _open(self, bucket: str, name: str) -> None:
        if bucket in self._stores:
            return
        if not is_bucket(bucket):
            raise SettingsError(f"{name}: {bucket!r} is no bucket name that S3 allows")
        store = ImageStore(self._s3, self._images.model_copy(update={"allowed_buckets": (bucket,)}))
        store.check()
        self._stores[bucket] = store
