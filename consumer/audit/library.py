"""Which files does an audit have, and what stands in them?"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

import polars as pl

from consumer.audit import columns
from consumer.audit.manifest import Manifest, NotAManifest, read_manifest
from consumer.audit.names import MANIFEST, Folder, first_offset_of, read_path
from consumer.audit.parquet import Extent, read_extent

_A_DAY = timedelta(days=1)
_TOPIC, _DATE = "topic=", "date="


class Shelf(Protocol):
    """Where audit objects lie: below a prefix of a bucket (images/shelf.py) or in a folder. Paths have no prefix."""

    @property
    def name(self) -> str:
        """What a person calls it: s3://bucket/prefix, or the folder."""

    @property
    def reading(self) -> dict[str, Any]:
        """What polars needs to read its locations."""

    def location(self, path: str) -> str:
        """What polars reads an object at."""

    def folders(self, path: str) -> list[str]:
        """The names of the folders in one (`""`: the top), sorted."""

    def objects(self, path: str) -> Iterator[tuple[str, int]]:
        """Path and size of all that lies below a folder, sorted."""

    def read(self, path: str) -> bytes | None:
        """The whole content, None where there is no such object."""


@dataclass(frozen=True, slots=True)
class AuditFile:
    """One Parquet file, by its name; `path` is below the prefix."""

    path: str
    folder: Folder
    first_offset: int
    size: int

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


class Library:
    """An audit, for those who read it. Nothing is cached: an auditor may be writing."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf

    def topics(self) -> list[str]:
        return [name.removeprefix(_TOPIC) for name in self.shelf.folders("") if name.startswith(_TOPIC)]

    def days(self, topic: str, *, since: datetime | None = None, until: datetime | None = None) -> list[date]:
        """The days that have a folder which may hold rows of that time: a file's rows are of its folder's day or of the
        day before."""
        days = []
        for name in self.shelf.folders(f"{_TOPIC}{topic}"):
            with contextlib.suppress(ValueError):
                if name.startswith(_DATE):
                    days.append(date.fromisoformat(name.removeprefix(_DATE)))
        begin, end = _utc_day(since, date.min), _utc_day(until, date.max)
        first = begin - _A_DAY if begin > date.min else begin
        last = end + _A_DAY if end < date.max else end
        return [day for day in sorted(days) if first <= day <= last]

    def files(
        self,
        topic: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        partition: int | None = None,
    ) -> list[AuditFile]:
        """Those that may hold rows of that time, by partition and offset."""
        found = [
            AuditFile(path, folder, offset, size)
            for day in self.days(topic, since=since, until=until)
            for path, size in self.shelf.objects(f"{_TOPIC}{topic}/{_DATE}{day.isoformat()}")
            for folder, offset in _file(path)
            if partition in (None, folder.partition)
        ]
        return sorted(found, key=lambda file: (file.folder.partition, file.first_offset, file.path))

    def manifests(
        self, topic: str, *, since: datetime | None = None, until: datetime | None = None, strict: bool = True
    ) -> Iterator[tuple[Folder, Manifest]]:
        """By day and partition. One that cannot be read raises NotAManifest, or is left out where not `strict`."""
        for day in self.days(topic, since=since, until=until):
            for path, _ in self.shelf.objects(f"{_TOPIC}{topic}/{_DATE}{day.isoformat()}"):
                known = read_path(path)
                if known is None or known[1] != MANIFEST or (content := self.shelf.read(path)) is None:
                    continue
                try:
                    yield known[0], read_manifest(content)
                except NotAManifest:
                    if strict:
                        raise

    def extent(self, file: AuditFile) -> Extent:
        """Which offsets it says that it covers; only its end is read. Raises NotAnAuditFile."""
        return read_extent(self.shelf.location(file.path), **self.shelf.reading)

    def outcomes(
        self,
        topics: Sequence[str],
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        partition: int | None = None,
    ) -> pl.LazyFrame:
        """The rows of results and dead letters, `since` ≤ time < `until`; columns as in columns.py, whatever version
        wrote the files. A file that lies there twice is read twice."""
        files = [file for topic in topics for file in self.files(topic, since=since, until=until, partition=partition)]
        return _between(self._scan(files, columns.OUTCOMES), since, until)

    def jobs(
        self,
        topic: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        partition: int | None = None,
    ) -> pl.LazyFrame:
        """The rows of the jobs topic, as `outcomes` gives those of the others."""
        files = self.files(topic, since=since, until=until, partition=partition)
        return _between(self._scan(files, columns.JOBS), since, until)

    def scan(self, files: Iterable[AuditFile], schema: pl.Schema) -> pl.LazyFrame:
        """The rows of just these files; columns that one of them has not are null, others than those of `schema` are
        left out."""
        return self._scan(list(files), schema)

    def _scan(self, files: Sequence[AuditFile], schema: pl.Schema) -> pl.LazyFrame:
        if not files:
            return pl.LazyFrame(schema=schema)
        return pl.scan_parquet(
            [self.shelf.location(file.path) for file in files],
            schema=schema,
            glob=False,
            hive_partitioning=False,
            missing_columns="insert",
            extra_columns="ignore",
            **self.shelf.reading,
        )


def _utc_day(moment: datetime | None, default: date) -> date:
    return default if moment is None else moment.astimezone(UTC).date()


def _file(path: str) -> Iterator[tuple[Folder, int]]:
    """Folder and first offset, where the path is that of a file."""
    known = read_path(path)
    if known is not None and (offset := first_offset_of(known[1])) is not None:
        yield known[0], offset


def _between(frame: pl.LazyFrame, since: datetime | None, until: datetime | None) -> pl.LazyFrame:
    if since is not None:
        frame = frame.filter(pl.col("time") >= since)
    return frame if until is None else frame.filter(pl.col("time") < until)
