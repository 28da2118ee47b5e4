"""How does a range of one partition become a file that no other auditor can overlap?

A file is created, never overwritten. Its name follows from its first row, so an auditor that comes late meets the file
that is there and goes on behind it. Then the file is noted in its day's manifest, by compare-and-swap.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from consumer.audit.library import Library, Shelf
from consumer.audit.manifest import File, Manifest, NotAManifest, Signer, begun, extended, read_manifest, to_json
from consumer.audit.names import Folder, clamped, day_of, file_name
from consumer.audit.parquet import Extent, NotAnAuditFile, read_extent, timestamp_at, to_parquet
from consumer.audit.rows import Kind
from consumer.errors import CheckFailed
from consumer.messages import Record
from consumer.settings import AuditSettings

logger = logging.getLogger(__name__)


class WritableShelf(Shelf, Protocol):
    """Where audit objects are written, see images/shelf.py."""

    def read_tagged(self, path: str) -> tuple[bytes, str] | None: ...
    def create(self, path: str, content: bytes, settings: AuditSettings) -> bool: ...
    def replace(self, path: str, content: bytes, settings: AuditSettings, *, etag: str | None) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Written:
    """Where the file ends that now holds the records, and whether another auditor had written it."""

    end: int
    rows: int
    bytes: int
    is_adopted: bool


@dataclass(frozen=True, slots=True)
class _Page:
    """A manifest as it lies in the store; no ETag while it does not."""

    manifest: Manifest
    etag: str | None


class Scribe:
    """Writes the files of any partition. Raises Unavailable or SettingsError where the store does not take them, and
    CheckFailed where what is there is no part of this log."""

    def __init__(self, shelf: WritableShelf, settings: AuditSettings, signer: Signer | None, *, writer: str) -> None:
        self._shelf = shelf
        self._library = Library(shelf)
        self._settings = settings
        self._signer = signer
        self._writer = writer
        self._pages: dict[tuple[str, int], _Page] = {}

    def join(self, topic: str, partition: int, day: date | None) -> int | None:
        """Where the audit of a partition ends by its manifests, None where it has none. `day`: whose manifest was the
        last, where that is known; else all are looked at, for timestamps need not rise with the offsets."""
        page = None
        for one in [day] if day else self._library.days(topic):
            found = self._page(Folder(topic, one, partition))
            if found is not None and (page is None or (found.manifest.end or 0) > (page.manifest.end or 0)):
                page = found
        if page is None and day is not None:
            return self.join(topic, partition, None)
        if page is None:
            self._pages.pop((topic, partition), None)
            return None
        self._pages[topic, partition] = page
        return page.manifest.end

    def forget(self, topic: str, partition: int) -> None:
        """Somebody else may write it from now on."""
        self._pages.pop((topic, partition), None)

    def day(self, topic: str, partition: int) -> date | None:
        """Whose manifest is the last one."""
        page = self._pages.get((topic, partition))
        return None if page is None else date.fromisoformat(page.manifest.date)

    def check(self, record: Record) -> None:
        """Raise CheckFailed unless this record, of an offset that the manifests hold already, is the one in the file:
        a topic that was made anew counts from 0 again, and none of its records may be taken for an audited one."""
        page = self._pages.get((record.topic, record.partition))
        while page is not None:
            manifest = page.manifest
            for entry in manifest.files:
                if entry.begin <= record.offset < entry.end:
                    folder = _folder_of(manifest)
                    self._compare(f"{folder.path}/{entry.name}", record)
                    return
            before = manifest.previous
            day = date.fromisoformat(before.date) if before else None
            page = self._page(Folder(record.topic, day, record.partition)) if day else None

    def write(self, kind: Kind, begin: int, records: Sequence[Record]) -> Written:
        """Put these records of one partition, all of them within a day, into the file that begins with the first; or
        find that file written."""
        first, last = records[0], records[-1]
        folder = Folder(first.topic, day_of(first.timestamp_ms), first.partition)
        extent = Extent(kind.schema, first.topic, first.partition, begin, last.offset + 1, len(records))
        content = to_parquet(kind.rows(records), extent, writer=self._writer)
        path = folder.file(first.offset)
        is_new = self._shelf.create(path, content, self._settings)
        if not is_new:
            content = self._adopted(path, first)
            extent = _extent_of(path, content)
            logger.info("adopted a file that was there", extra={"file": path, "begin": extent.begin, "end": extent.end})
        name = file_name(first.topic, first.partition, first.offset)
        digest = hashlib.sha256(content).hexdigest()
        self._note(folder, File(name, extent.begin, extent.end, extent.rows, len(content), digest))
        return Written(extent.end, extent.rows, len(content), is_adopted=not is_new)

    # --- files that are there -------------------------------------------------------------------------------------

    def _adopted(self, path: str, first: Record) -> bytes:
        content = self._shelf.read(path)
        if content is None:
            raise CheckFailed(f"audit {self._shelf.location(path)} was there a moment ago and is not now")
        self._compare(path, first, content)
        return content

    def _compare(self, path: str, record: Record, content: bytes | None = None) -> None:
        content = self._shelf.read(path) if content is None else content
        if content is None:
            logger.warning("a file of the manifest is gone", extra={"file": path})
            return
        _extent_of(path, content)
        if timestamp_at(content, record.offset) != clamped(record.timestamp_ms):
            raise CheckFailed(
                f"audit {self._shelf.location(path)} has another record at {record.coordinates} than the topic: was "
                "the topic made anew? Then its audit needs another audit.prefix"
            )

    # --- manifests ------------------------------------------------------------------------------------------------

    def _note(self, folder: Folder, file: File) -> None:
        key = (folder.topic, folder.partition)
        last = self._pages.get(key)
        page = last if last is not None and last.manifest.date == folder.date.isoformat() else self._page(folder)
        while True:
            page = page or _Page(begun(folder, after=last.manifest if last else None), None)
            if page.manifest.end is not None and page.manifest.end >= file.end:
                self._pages[key] = page  # by another auditor, or by ourselves before an answer was lost
                return
            manifest = extended(page.manifest, file, self._signer)
            etag = self._shelf.replace(folder.manifest, to_json(manifest), self._settings, etag=page.etag)
            if etag is not None:
                self._pages[key] = _Page(manifest, etag)
                return
            page = self._page(folder)

    def _page(self, folder: Folder) -> _Page | None:
        found = self._shelf.read_tagged(folder.manifest)
        if found is None:
            return None
        try:
            return _Page(read_manifest(found[0]), found[1])
        except NotAManifest as error:
            raise CheckFailed(f"audit {self._shelf.location(folder.manifest)} is no manifest: {error}") from error


def _extent_of(path: str, content: bytes) -> Extent:
    try:
        return read_extent(content)
    except NotAnAuditFile as error:
        raise CheckFailed(f"audit {path} lies where a file of the audit belongs: {error}") from error


def _folder_of(manifest: Manifest) -> Folder:
    return Folder(manifest.topic, date.fromisoformat(manifest.date), manifest.partition)
