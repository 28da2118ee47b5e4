"""Is the audit still what the auditor wrote: every file, every manifest, and the chain through all of them?

Manifests are small, so all of them are read; files are read, one at a time, where their day is asked for. An auditor
may be writing meanwhile: the newest day is looked at first, and a folder is listed before its manifest is read.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from msgspec import Struct

from consumer.audit.heads import Head
from consumer.audit.library import AuditFile, Library
from consumer.audit.lineage import Lineage
from consumer.audit.manifest import Entry, Manifest, NotAManifest, read_manifest
from consumer.audit.names import MANIFEST, Folder, day_folder, first_offset_of, read_path
from consumer.audit.parquet import Extent, NotAnAuditFile, read_extent
from consumer.audit.scrutiny import Finding, Trust, scrutinize

Sizes = dict[str, int]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be looked at: files of this time alone (None: of all). `seen`: what the audit once went up to."""

    topics: tuple[str, ...]
    since: datetime | None = None
    until: datetime | None = None
    trust: Trust = field(default_factory=Trust)
    seen: tuple[Head, ...] = ()


class Verification(Struct):
    """What was looked at, and what was found. `pending`: files that the auditor may be about to write down. `keys`: the
    public ones that manifests bring along."""

    manifests: int = 0
    signed: int = 0
    files: int = 0
    bytes: int = 0
    rows: int = 0
    findings: list[Finding] = []
    pending: list[str] = []
    heads: list[Head] = []
    keys: list[str] = []


@dataclass(frozen=True, slots=True)
class _Partition:
    """What the folders of one partition have in common."""

    lineage: Lineage
    strays: list[AuditFile] = field(default_factory=list)  # in no manifest


def verify(library: Library, asked: Asked) -> Verification:
    """Look at everything that is asked for. Raises what the library's shelf does."""
    verifier = _Verifier(library, asked)
    for topic in asked.topics:
        verifier.look_at(topic)
    verifier.told.findings.sort(key=lambda finding: finding.path)
    return verifier.told


class _Verifier:
    def __init__(self, library: Library, asked: Asked) -> None:
        self.told = Verification()
        self._library = library
        self._asked = asked

    def look_at(self, topic: str) -> None:
        days = self._library.days(topic)
        wanted = set(self._library.days(topic, since=self._asked.since, until=self._asked.until))
        partitions: dict[int, _Partition] = {}
        self._look_for_odd_folders(topic, days)
        for day in reversed(days):
            for folder, sizes in self._folders(topic, day, is_wanted=day in wanted):
                partition = partitions.setdefault(folder.partition, _Partition(Lineage(topic, folder.partition)))
                self._look_at_folder(folder, sizes, partition)
        for partition in partitions.values():
            since = self._asked.since
            self.told.findings += partition.lineage.flaws(since=None if since is None else since.date())
            self._look_at_strays(partition)
            self.told.heads += partition.lineage.heads
        for head in self._asked.seen:
            if head.topic == topic:
                known = partitions.get(head.partition)
                flaw = (known.lineage if known else Lineage(topic, head.partition)).flaw_of(head)
                self.told.findings += [flaw] if flaw else []

    # --- folders --------------------------------------------------------------------------------------------------

    def _look_for_odd_folders(self, topic: str, days: Sequence[date]) -> None:
        """Readers that take everything below the topic would read what lies there."""
        known = {day_folder(topic, day) for day in days}
        for name in self._library.shelf.folders(f"topic={topic}"):
            if (path := f"topic={topic}/{name}") not in known:
                self._found(Finding("added_file", path, "a folder that is no day of the audit"))

    def _folders(self, topic: str, day: date, *, is_wanted: bool) -> Iterator[tuple[Folder, Sizes | None]]:
        """Each partition's folder with names and sizes; None where they are not to be looked at."""
        at = day_folder(topic, day)
        if not is_wanted:
            numbers = [name.removeprefix("partition=") for name in self._library.shelf.folders(at)]
            yield from ((Folder(topic, day, int(number)), None) for number in numbers if number.isdecimal())
            return
        found: dict[Folder, Sizes] = {}
        for path, size in self._library.shelf.objects(at):
            known = read_path(path)
            if known is None or path != f"{known[0].path}/{known[1]}":
                self._found(Finding("added_file", path, "it is no part of the audit"))
            else:
                found.setdefault(known[0], {})[known[1]] = size
        yield from found.items()

    def _look_at_folder(self, folder: Folder, sizes: Sizes | None, partition: _Partition) -> None:
        manifest = None
        try:
            if (content := self._library.shelf.read(folder.manifest)) is not None:
                manifest = read_manifest(content)
                self._look_at_manifest(manifest, folder)
                partition.lineage.add(folder, manifest)
        except NotAManifest as error:
            self._found(Finding("altered_manifest", folder.manifest, f"it cannot be read: {error}"))
            partition.lineage.unreadable.add(folder.date.isoformat())
        if sizes is not None:
            entries = () if manifest is None else manifest.files
            for entry in entries:
                self._look_at_file(folder, entry, sizes.get(entry.name))
            partition.strays.extend(_strays(folder, sizes, {entry.name for entry in entries}))

    def _look_at_manifest(self, manifest: Manifest, folder: Folder) -> None:
        self.told.manifests += 1
        if (signature := manifest.signature) is not None:
            self.told.signed += 1
            self.told.keys = sorted({*self.told.keys, signature.public_key})
        self.told.findings += scrutinize(manifest, folder, self._asked.trust)

    def _look_at_file(self, folder: Folder, entry: Entry, size: int | None) -> None:
        path = f"{folder.path}/{entry.name}"
        self.told.files += 1
        self.told.rows += entry.rows
        if size is not None and size != entry.bytes:  # not read: it may be of any size
            self._found(Finding("changed_file", path, f"it has {size} bytes, and had {entry.bytes}"))
            return
        content = self._library.shelf.read(path)
        if content is None:
            self._found(Finding("removed_file", path, f"it is gone, with offsets {entry.begin} to {entry.end}"))
            return
        self.told.bytes += len(content)
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            self._found(Finding("changed_file", path, "its SHA-256 is another one"))
        elif (fact := _unlike(entry, folder, content)) is not None:
            self._found(Finding("altered_manifest", folder.manifest, f"{entry.name}: {fact}"))

    # --- files without an entry -----------------------------------------------------------------------------------

    def _look_at_strays(self, partition: _Partition) -> None:
        """One of them may be the auditor's newest file, which it has not written down yet, or died before it could."""
        following = [file for file in partition.strays if self._goes_on(file, partition.lineage.end)]
        pending = following[0] if len(following) == 1 else None
        if pending is not None:
            self.told.pending.append(pending.path)
        folders: dict[Folder, list[AuditFile]] = {}
        for file in partition.strays:
            if file is not pending:
                folders.setdefault(file.folder, []).append(file)
        for folder, files in folders.items():
            self.told.findings += self._put_in_or_bared(folder, files, partition.lineage)

    def _put_in_or_bared(self, folder: Folder, files: Sequence[AuditFile], lineage: Lineage) -> Iterator[Finding]:
        """Were the files put in, or was their manifest taken out?"""
        if lineage.has(folder) or (len(files) == 1 and not lineage.is_continued(folder)):
            yield from (Finding("added_file", file.path, "it is in no manifest") for file in files)
        elif not lineage.is_continued(folder):  # else told already
            yield Finding("removed_manifest", folder.manifest, f"there is none beside {len(files)} files")

    def _goes_on(self, file: AuditFile, end: int | None) -> bool:
        if first_offset_of(file.name) is None:
            return False
        try:
            extent = self._library.extent(file)
        except NotAnAuditFile:
            return False
        is_of_folder = (extent.topic, extent.partition) == (file.folder.topic, file.folder.partition)
        return is_of_folder and _is_within(file.first_offset, extent) and end in (None, extent.begin)

    def _found(self, finding: Finding) -> None:
        self.told.findings.append(finding)


def _strays(folder: Folder, sizes: Mapping[str, int], named: set[str]) -> Iterator[AuditFile]:
    for name in sorted(sizes.keys() - named - {MANIFEST}):
        yield AuditFile(f"{folder.path}/{name}", folder, first_offset_of(name) or 0, sizes[name])


def _unlike(entry: Entry, folder: Folder, content: bytes) -> str | None:
    """What the file says otherwise than its entry."""
    try:
        extent = read_extent(content)
    except NotAnAuditFile as error:
        return str(error)
    if (extent.topic, extent.partition) != (folder.topic, folder.partition):
        return f"the file is of {extent.topic}/{extent.partition}"
    if (extent.begin, extent.end, extent.rows) != (entry.begin, entry.end, entry.rows):
        return f"the file has {extent.rows} rows of offsets {extent.begin} to {extent.end}"
    first = first_offset_of(entry.name)
    return None if first is not None and _is_within(first, extent) else "the file has the name of another one"


def _is_within(offset: int, extent: Extent) -> bool:
    return extent.begin <= offset < extent.end
