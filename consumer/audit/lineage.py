"""Do the manifests of one partition go on from each other, with no offset left out between their files?

A manifest's chain begins with that of the partition's last manifest at that time. Mostly that is the day before; but a
file lies in the folder of its first row's time, and times need not rise with the offsets, so an older day's manifest
may have grown since. What holds for the files of all days together: their offsets tile.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise

from consumer.audit.heads import Head
from consumer.audit.manifest import Manifest, Previous
from consumer.audit.names import Folder
from consumer.audit.scrutiny import Finding


@dataclass(frozen=True, slots=True)
class _Day:
    """What is kept of a manifest."""

    previous: Previous | None
    chains: tuple[str, ...]
    begin: int | None  # None: it has no files
    end: int | None


@dataclass(slots=True)
class Lineage:
    """All days of one partition, about 200 bytes a file."""

    topic: str
    partition: int
    unreadable: set[str] = field(default_factory=set)
    _days: dict[str, _Day] = field(default_factory=dict)
    _spans: list[tuple[int, int, str]] = field(default_factory=list)  # begin, end, path of the file

    def add(self, folder: Folder, manifest: Manifest) -> None:
        self._spans += [(entry.begin, entry.end, f"{folder.path}/{entry.name}") for entry in manifest.files]
        chains = tuple(entry.chain for entry in manifest.files)
        begin = manifest.files[0].begin if manifest.files else None
        self._days[folder.date.isoformat()] = _Day(manifest.previous, chains, begin, manifest.end)

    @property
    def end(self) -> int | None:
        """The offset behind the last file, None where there is none."""
        return max((end for _, end, _ in self._spans), default=None)

    @property
    def heads(self) -> Iterator[Head]:
        """The ends that no other manifest goes on from."""
        continued = {day.previous.chain for day in self._days.values() if day.previous is not None}
        for name, day in self._days.items():
            if day.end is not None and day.chains[-1] not in continued:
                yield Head(self.topic, self.partition, name, day.chains[-1], day.end)

    def has(self, folder: Folder) -> bool:
        """Whether this day has a manifest, one that can be read or not."""
        day = folder.date.isoformat()
        return day in self._days or day in self.unreadable

    def is_continued(self, folder: Folder) -> bool:
        """Whether another day goes on from this one."""
        return any(day.previous and day.previous.date == folder.date.isoformat() for day in self._days.values())

    def flaws(self, *, since: date | None) -> Iterator[Finding]:
        """What is before `since` may be gone: it may have expired."""
        self._spans.sort()
        yield from self._links(since)
        yield from self._tiling()

    def flaw_of(self, head: Head) -> Finding | None:
        """What was seen once must still be there, with more behind it or not."""
        day = self._days.get(head.date)
        if day is not None and head.chain in day.chains:
            return None
        now = "nothing is there now" if self.end is None else f"now it ends at {self.end}, and is not what was seen"
        fact = f"the partition was seen to go up to offset {head.end}: {now}"
        return Finding("truncated_tail", self._manifest(head.date), fact)

    def _links(self, since: date | None) -> Iterator[Finding]:
        first = min((begin for begin, _, _ in self._spans), default=0)
        for name, day in self._days.items():
            previous = day.previous
            if previous is None:
                if day.begin not in (None, first):
                    fact = "it begins anew, though there are files of earlier offsets"
                    yield Finding("broken_link", self._manifest(name), fact)
            elif (before := self._days.get(previous.date)) is not None:
                if previous.chain not in before.chains:
                    fact = f"it goes on from a state of {previous.date} that the manifest of that day does not have"
                    yield Finding(
                        "broken_link", self._manifest(name), f"{fact}: its end was taken off, or written anew"
                    )
            elif previous.date not in self.unreadable and not (since and previous.date < since.isoformat()):
                yield Finding("removed_manifest", self._manifest(previous.date), f"it is gone: {name} goes on from it")

    def _tiling(self) -> Iterator[Finding]:
        for (_, end, before), (begin, _, path) in pairwise(self._spans):
            if begin > end:
                yield Finding("gap", path, f"offsets {end} to {begin} are in no file, behind {before}")
            elif begin < end:
                yield Finding("overlap", path, f"it begins at {begin}, and {before} ends at {end}")

    def _manifest(self, day: str) -> str:
        """Where a manifest of that day lies; the day is what a file says, and may be anything."""
        return f"topic={self.topic}/date={day}/partition={self.partition}/_manifest.json"
