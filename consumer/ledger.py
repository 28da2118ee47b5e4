"""Which outcomes may be delivered while jobs finish out of order.

A line per partition; a line's finished head may leave, nothing behind an unfinished entry may.
Knows no Kafka and no images: partitions are any hashable, offsets are integers that grow, outcomes are anything.
"""

import threading
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

P = TypeVar("P", bound=Hashable)
T = TypeVar("T")


class Entry(Generic[P, T]):
    """One record in hand: it holds a place for each of its jobs' outcomes.

    An entry is itself the identity of one attempt. When its partition is taken away the ledger forgets it, and an
    answer that comes late ends here; the same offset read again is another entry.
    """

    __slots__ = (
        "_missing",
        "_outcomes",
        "epoch",
        "finished_at",
        "is_dropped",
        "jobs",
        "leave",
        "line",
        "offset",
        "opened_at",
        "skipped",
        "timestamp",
    )

    def __init__(
        self, line: "Line[P, T]", offset: int, jobs: int, *, timestamp: float, skipped: tuple[str, ...]
    ) -> None:
        self.line = line
        self.offset = offset
        self.epoch = line.epoch
        self.timestamp = timestamp
        self.opened_at = self.finished_at = line.clock()
        self.is_dropped = False
        self.jobs = jobs
        self.skipped = skipped
        self.leave: Callable[[Place[P, T]], None] | None = None
        self._outcomes: list[T | None] = [None] * jobs
        self._missing = jobs

    @property
    def partition(self) -> P:
        return self.line.partition

    @property
    def room(self) -> int:
        """What it takes of the room for jobs; a record without any is remembered all the same."""
        return max(1, self.jobs)

    @property
    def places(self) -> tuple["Place[P, T]", ...]:
        """One for each job, in order."""
        return tuple(Place(self, index) for index in range(self.jobs))

    @property
    def is_finished(self) -> bool:
        return self._missing == 0

    @property
    def is_head(self) -> bool:
        """True while no older entry of the partition is in hand. May be asked from any thread."""
        entries = self.line.entries
        try:
            return entries[0] is self
        except IndexError:
            return False

    @property
    def outcomes(self) -> tuple[T, ...]:
        """The outcomes in the order of the record's jobs. Raises ValueError while one is missing."""
        if self._missing:
            raise ValueError(f"offset {self.offset} of {self.partition} still misses {self._missing} outcome(s)")
        return tuple(outcome for outcome in self._outcomes if outcome is not None)

    def has_outcome(self, index: int) -> bool:
        return self._outcomes[index] is not None

    def is_first_missing(self, index: int) -> bool:
        """True while this job has no outcome and all before it have theirs. May be asked from any thread."""
        return None not in self._outcomes[:index] and self._outcomes[index] is None

    def finish(self, index: int, outcome: T) -> None:
        """Put down the outcome of one job; from any thread, once for each job."""
        with self.line.lock:
            if self._outcomes[index] is not None:
                raise ValueError(f"job {index} of offset {self.offset} of {self.partition} has its outcome already")
            self._outcomes[index] = outcome
            self.finished_at = self.line.clock()
            self._missing -= 1

    def replace(self, index: int, outcome: T) -> None:
        """Another outcome for a finished job: what the broker refused becomes a dead letter."""
        with self.line.lock:
            self._outcomes[index] = outcome


@dataclass(frozen=True, slots=True)
class Place(Generic[P, T]):
    """Where one job's outcome will stand."""

    entry: Entry[P, T]
    index: int

    @property
    def is_head(self) -> bool:
        """True while nothing older of the partition is unfinished: of a record's many jobs one is the head."""
        return self.entry.is_head and self.entry.is_first_missing(self.index)

    @property
    def is_dropped(self) -> bool:
        return self.entry.is_dropped

    @property
    def is_finished(self) -> bool:
        return self.entry.has_outcome(self.index)

    @property
    def opened_at(self) -> float:
        return self.entry.opened_at

    def take_in_hand(self) -> None:
        """Called when the job is about to be decoded; waits where the entry's jobs need leave for that."""
        if self.entry.leave is not None:
            self.entry.leave(self)

    def finish(self, outcome: T) -> None:
        self.entry.finish(self.index, outcome)


@dataclass(slots=True)
class Line(Generic[P, T]):
    """The entries of one partition, oldest first. `epoch` counts how often the partition was given to us."""

    partition: P
    epoch: int
    clock: Callable[[], float]
    entries: "deque[Entry[P, T]]" = field(default_factory=deque)
    jobs: int = 0
    last_offset: int = -1
    lock: threading.Lock = field(default_factory=threading.Lock)

    def pop(self) -> "Entry[P, T]":
        entry = self.entries.popleft()
        self.jobs -= entry.room
        return entry


class Ledger(Generic[P, T]):
    """All records in hand. Lines are opened and dropped by one thread; `Entry.finish` may come from any.

    The one rule: look at heads, deliver them, and only after the commit remove them.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lines: dict[P, Line[P, T]] = {}
        self._epochs: dict[P, int] = {}

    def __len__(self) -> int:
        """How many jobs are in hand, finished ones that were not delivered yet included; a record without any counts
        as one."""
        return sum(line.jobs for line in self._lines.values())

    def assign(self, partition: P) -> None:
        """The partition is ours from now on, under a new epoch."""
        self.drop(partition)
        self._epochs[partition] = self._epochs.get(partition, 0) + 1
        self._lines[partition] = Line(partition, self._epochs[partition], self._clock)

    def drop(self, partition: P) -> int:
        """The partition is not ours any more: forget its entries, finished or not. Returns how many jobs those held."""
        line = self._lines.pop(partition, None)
        if line is None:
            return 0
        for entry in line.entries:
            entry.is_dropped = True
        return line.jobs

    @property
    def partitions(self) -> list[P]:
        return list(self._lines)

    def owns(self, partition: P, epoch: int) -> bool:
        """True if the partition is ours and was so all the time since `epoch` was read."""
        line = self._lines.get(partition)
        return line is not None and line.epoch == epoch

    def epoch(self, partition: P) -> int:
        """How often the partition was given to us."""
        return self._epochs.get(partition, 0)

    def open(
        self, partition: P, offset: int, jobs: int, *, timestamp: float = 0.0, skipped: tuple[str, ...] = ()
    ) -> Entry[P, T]:
        """Take a record in hand; without jobs it is finished at once. `skipped` says why parts of it are no jobs.

        Raises ValueError for a partition that is not ours or an offset that does not grow.
        """
        line = self._lines.get(partition)
        if line is None:
            raise ValueError(f"{partition} is not assigned")
        if line.last_offset >= offset:
            raise ValueError(f"offset {offset} of {partition} comes after {line.last_offset}")
        entry: Entry[P, T] = Entry(line, offset, jobs, timestamp=timestamp, skipped=skipped)
        line.last_offset = offset
        line.entries.append(entry)
        line.jobs += entry.room
        return entry

    def count(self, partition: P) -> int:
        """How many jobs of the partition are in hand."""
        line = self._lines.get(partition)
        return line.jobs if line else 0

    def oldest(self, partition: P) -> Entry[P, T] | None:
        line = self._lines.get(partition)
        return line.entries[0] if line and line.entries else None

    def finished_heads(self, limit: int) -> list[Entry[P, T]]:
        """A look at what may be delivered now: per partition the finished entries before the first unfinished one.

        At most about `limit` entries in all, shared out fairly between the partitions.
        """
        heads = [self._finished_head(line, limit) for line in self._lines.values()]
        heads = [head for head in heads if head]
        share = max(1, limit // len(heads)) if heads else 0
        return [entry for head in heads for entry in head[:share]]

    @staticmethod
    def _finished_head(line: Line[P, T], limit: int) -> list[Entry[P, T]]:
        head: list[Entry[P, T]] = []
        for entry in line.entries:
            if not entry.is_finished or len(head) == limit:
                break
            head.append(entry)
        return head

    def remove_below(self, partition: P, next_offset: int) -> list[Entry[P, T]]:
        """Everything before `next_offset` is committed: remove and return it. An unfinished entry among it was done by
        somebody else, and is dropped."""
        line = self._lines.get(partition)
        removed: list[Entry[P, T]] = []
        while line and line.entries and line.entries[0].offset < next_offset:
            entry = line.pop()
            entry.is_dropped = not entry.is_finished
            removed.append(entry)
        return removed
