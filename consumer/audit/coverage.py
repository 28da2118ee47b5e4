"""Which offsets of a partition are in the files, and where do these leave a gap or lie over each other?"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

from consumer.audit.library import AuditFile, Library
from consumer.audit.manifest import Manifest
from consumer.audit.names import Folder
from consumer.audit.parquet import Extent, NotAnAuditFile

_AT_ONCE = 16  # footers that are asked for together


@dataclass(frozen=True, slots=True)
class Flaw:
    """A `gap`, an `overlap` or an `unreadable` file; `path` is below the audit's prefix."""

    kind: Literal["gap", "overlap", "unreadable"]
    path: str
    message: str


@dataclass(slots=True)
class Coverage:
    """What the files of one partition hold, by what they say themselves. `files` are those that can be read."""

    topic: str
    partition: int
    files: list[AuditFile] = field(default_factory=list)
    flaws: list[Flaw] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)  # how many each file says that it has, by path
    begin: int = 0
    end: int = 0


def coverages(
    library: Library, topic: str, files: Sequence[AuditFile], manifests: Iterable[tuple[Folder, Manifest]]
) -> dict[int, Coverage]:
    """By partition. Of each file the end alone is read; `manifests` of the same days tell of files that are gone."""
    found: dict[int, Coverage] = {}
    gone: dict[int, dict[int, Flaw]] = {}
    there = {file.path for file in files}
    for folder, manifest in manifests:
        for entry in manifest.files:
            if (path := f"{folder.path}/{entry.name}") not in there:
                fact = f"offsets {entry.begin} to {entry.end} are in no file: this one is gone"
                gone.setdefault(folder.partition, {})[entry.begin] = Flaw("gap", path, fact)
    known: dict[int, list[tuple[Extent, AuditFile]]] = {}
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for file, extent in zip(files, threads.map(lambda one: _extent(library, one), files), strict=True):
            number = file.folder.partition
            coverage = found.setdefault(number, Coverage(topic, number))
            if isinstance(extent, Flaw):
                coverage.flaws.append(extent)
            else:
                known.setdefault(number, []).append((extent, file))
    for number, pairs in known.items():
        pairs.sort(key=lambda pair: (pair[0].begin, pair[0].end, pair[1].path))
        coverage = found[number]
        coverage.files = [file for _, file in pairs]
        coverage.rows = {file.path: extent.rows for extent, file in pairs}
        coverage.begin = pairs[0][0].begin
        coverage.end = max(extent.end for extent, _ in pairs)
        coverage.flaws += _tiling(pairs, coverage, gone.get(number, {}))
    for number, flaws in gone.items():
        found.setdefault(number, Coverage(topic, number)).flaws += flaws.values()
    return found


def _extent(library: Library, file: AuditFile) -> Extent | Flaw:
    try:
        extent = library.extent(file)
    except NotAnAuditFile as error:
        return Flaw("unreadable", file.path, str(error))
    if (extent.topic, extent.partition) != (file.folder.topic, file.folder.partition):
        return Flaw("unreadable", file.path, f"it is of {extent.topic}, partition {extent.partition}")
    return extent


def _tiling(pairs: Sequence[tuple[Extent, AuditFile]], coverage: Coverage, known: Mapping[int, Flaw]) -> Iterator[Flaw]:
    """`known`: gaps that are told already, by where they begin."""
    end, last = pairs[0][0].end, pairs[0][1]
    for extent, file in pairs[1:]:
        if extent.begin > end:
            coverage.gaps.append((end, extent.begin))
            if end not in known:
                fact = f"offsets {end} to {extent.begin} are in no file: one before it is missing"
                yield Flaw("gap", file.path, fact)
        elif extent.begin < end:
            yield Flaw("overlap", file.path, f"it begins at {extent.begin}, and {last.name} goes up to {end}")
        if extent.end >= end:
            end, last = extent.end, file
