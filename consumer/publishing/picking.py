"""Which of a bucket's objects and a folder's files are to be inspected?"""

import fnmatch
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from consumer.errors import Rejected, SettingsError
from consumer.images.access import S3Access
from consumer.images.listing import listed
from consumer.images.names import client_for, is_bucket
from consumer.images.upload import Uploaded, upload
from consumer.publishing.drafts import Draft, Template

# The formats that can be decoded, by the names that people give them.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

_NAMED = 3


@dataclass(frozen=True)
class Selection:
    """Takes names that match one of the patterns (none: those with an image's suffix), and counts what it leaves out.

    What no client could ask for is left out too, and the first three are named with the reason through `warn`.
    In a pattern * stands for anything, slashes too; it is held against the name behind the prefix or folder.
    """

    patterns: Sequence[str] = ()
    skipped: Counter[str] = field(default_factory=Counter)
    warn: Callable[[str], None] = lambda _: None

    def takes(self, name: str, size: int) -> bool:
        if name.endswith("/"):
            return self._skip("folder markers")
        if not self._matches(name):
            return self._skip("names that do not match" if self.patterns else "names without an image's suffix")
        return size > 0 or self._skip("empty")

    def takes_key(self, bucket: str, key: str) -> bool:
        try:
            client_for(bucket, key)
        except Rejected as error:
            why = "names that cannot be fetched"
            self._skip(why)
            if self.skipped[why] <= _NAMED:
                self.warn(f"left out: {error}")
            return False
        return True

    def _matches(self, name: str) -> bool:
        if self.patterns:
            return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.patterns)
        return name.lower().endswith(SUFFIXES)

    def _skip(self, why: str) -> bool:
        self.skipped[why] += 1
        return False


@dataclass(frozen=True, slots=True)
class Location:
    """Where in S3: a bucket, and what its keys begin with."""

    bucket: str
    prefix: str

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


def location(uri: str, what: str) -> Location:
    """Raises SettingsError, which begins with `what`, unless it is `s3://bucket` or `s3://bucket/prefix`."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise SettingsError(f"{what}: expected s3://bucket/prefix, got {uri!r}")
    if not is_bucket(bucket):
        raise SettingsError(f"{what}: {bucket!r} is no bucket name that S3 allows")
    return Location(bucket, unicode_text(prefix, what))


def unicode_text(text: str, what: str) -> str:
    """The text. Raises SettingsError, which begins with `what`, for bytes on the command line that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SettingsError(f"{what}: {text!r} is not valid UTF-8") from error
    return text


class PrefixImages:
    """A job for each object of a prefix that is taken, listed while they are asked for."""

    total = None

    def __init__(
        self, access: S3Access, where: Location, selection: Selection, template: Template, *, start_after: str = ""
    ) -> None:
        self.name = where.uri
        self._objects = partial(listed, access, where.bucket, where.prefix, start_after=start_after)
        self._where = where
        self._selection = selection
        self._template = template

    def __iter__(self) -> Iterator[Draft]:
        bucket, selection = self._where.bucket, self._selection
        folder = self._where.prefix[: self._where.prefix.rfind("/") + 1]
        for found in self._objects():
            if selection.takes(found.key.removeprefix(folder), found.size) and selection.takes_key(bucket, found.key):
                yield self._template.of_image(bucket, found.key)


class FolderImages:
    """A job for each file of a folder that is taken, in the order of their names, folder by folder.

    `upload` puts them below `where` first. Links to folders are not followed.
    """

    def __init__(self, folder: Path, where: Location, selection: Selection, template: Template) -> None:
        """Raises SettingsError for what cannot be read or named in S3."""
        if not folder.is_dir():
            fact = "is no folder" if folder.exists() else "does not exist"
            raise SettingsError(f"{folder} {fact}: expected a folder, s3://bucket/prefix, or - for stdin")
        self.name = str(folder)
        self._bucket = where.bucket
        self._template = template
        begin = where.prefix if where.prefix.endswith("/") or not where.prefix else f"{where.prefix}/"
        keys = ((begin + path.relative_to(folder).as_posix(), path) for path in _files_in(folder, selection))
        self._images = [(key, path) for key, path in keys if selection.takes_key(where.bucket, key)]
        self.total = len(self._images)

    def __iter__(self) -> Iterator[Draft]:
        return (self._template.of_image(self._bucket, key) for key, _ in self._images)

    def upload(self, access: S3Access, *, limit: int | None = None) -> Iterator[Uploaded]:
        """Put the files, or the first of them. See `images.upload.upload`."""
        return upload(access, self._bucket, self._images[:limit])


def _files_in(folder: Path, selection: Selection) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_file() and selection.takes(path.relative_to(folder).as_posix(), path.stat().st_size):
                yield path


def _refuse(error: OSError) -> None:
    raise SettingsError(f"folder {error.filename} cannot be read: {error.strerror}") from error
