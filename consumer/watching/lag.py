"""How far is the group behind, how fast does it go, and when will it have caught up?"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from msgspec import Struct

from consumer.errors import Unavailable
from consumer.kafka.group import GroupReader, Owner
from consumer.kafka.reader import TIMEOUT, Reader
from consumer.kafka.topics import LogOffsets
from consumer.messages import Record
from consumer.outcomes import DeadLetterView
from consumer.settings import Settings
from consumer.watching.choice import Strangers, outcomes_of
from consumer.watching.moments import Moment
from consumer.watching.outcome_lines import time_of
from consumer.watching.tally import Row, Tally

WINDOW = 60.0
_PATIENCE = 5.0
_ASK = 1.0


class PartitionLag(Struct, frozen=True):
    """One partition of the jobs topic. `lag` is in offsets, as Kafka's tools count it: transaction markers and records
    that were aborted count too. Where none of them is a record `lag` is 0. None: not known, or does not apply.

    `rate` is what the group finished per second, `drains_in` the seconds until the lag is gone if it and the
    publishers go on as they do (None: it does not shrink)."""

    partition: int
    begin: int
    end: int
    committed: int | None
    lag: int | None
    oldest_seconds: float | None
    rate: float | None
    drains_in: float | None
    owner: Owner | None
    note: str = ""

    @property
    def is_known(self) -> bool:
        """Whether it was seen how much waits here, and since when."""
        return self.lag == 0 or (self.lag is not None and self.oldest_seconds is not None)


class Total(Struct, frozen=True):
    """All partitions together: the sum, and the oldest of all; None where that of one partition is not known."""

    lag: int | None
    oldest_seconds: float | None
    rate: float | None
    drains_in: float | None


class Standing(Struct, frozen=True):
    """How the group stands at one moment."""

    time: str
    group: str
    state: str
    protocol: str
    members: int
    topic: str
    partitions: tuple[PartitionLag, ...]
    total: Total
    dead_letters: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """What stood where at one time of a monotonic clock. `positions` is what the group will do next; partitions whose
    offset a delivery was about to change are neither in it nor in `committed`."""

    at: float
    positions: Mapping[int, int]
    ends: Mapping[int, int]
    begins: Mapping[int, int]
    committed: Mapping[int, int | None]

    def note(self, number: int) -> str:
        if number not in self.committed:
            return "a delivery is under way"
        offset = self.committed[number]
        if offset is None:
            return "the group has no offset here yet"
        return "the group's offset is not in the log any more" if offset < self.begins[number] else ""


@dataclass(frozen=True, slots=True)
class Pace:
    """Per second between two samples, in offsets: what the group did, and what was published."""

    done: float
    published: float

    def drains_in(self, lag: int) -> float | None:
        if lag == 0:
            return 0.0
        shrinks = self.done - self.published
        return lag / shrinks if shrinks > 0 else None


def pace_of(first: Sample, last: Sample, partitions: list[int]) -> Pace | None:
    """Of these partitions together, of which both samples must know; None where they tell nothing."""
    seconds = last.at - first.at
    known = [number for number in partitions if all(number in sample.positions for sample in (first, last))]
    if seconds <= 0 or not known:
        return None
    done = sum(last.positions[number] - first.positions[number] for number in known)
    published = sum(last.ends[number] - first.ends[number] for number in known)
    return Pace(max(0.0, done / seconds), max(0.0, published / seconds))


def total_of(rows: Sequence[PartitionLag], pace: Pace | None) -> Total:
    lags = [row.lag for row in rows if row.lag is not None]
    lag = sum(lags) if len(lags) == len(rows) else None
    is_known = all(row.is_known for row in rows)
    return Total(
        lag=lag,
        oldest_seconds=max((row.oldest_seconds or 0.0 for row in rows), default=0.0) if is_known else None,
        rate=None if pace is None else round(pace.done, 2),
        drains_in=None if pace is None or lag is None else pace.drains_in(lag),
    )


class Watch:
    """Looks at the group again and again; each look compares with the oldest one of the last minute. Use it in a
    `with`. No group is joined and nothing is committed."""

    def __init__(self, settings: Settings, *, since: Moment, clock: Callable[[], float] = time.monotonic) -> None:
        """`since`: from when on dead letters are counted. Raises SettingsError for a missing topic or right,
        Unavailable without an answer."""
        self._settings = settings
        self._clock = clock
        with Reader(settings, [settings.topics.jobs], start="latest"):
            pass  # it names what is missing
        self._offsets = LogOffsets(settings)
        self._group = GroupReader(settings)
        self._dead_letters = Reader(settings, [settings.topics.dead_letters], start=since)
        self._tally = Tally()
        self._samples: deque[Sample] = deque()
        self.strangers = Strangers()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._dead_letters.__exit__(*exception)

    def begin(self) -> None:
        """Note where things stand, so that the first look has something to compare with. Raises as `look` does."""
        self._sample()

    def look(self) -> Standing:
        """Raises Unavailable or SettingsError."""
        sample = self._sample()
        heads = self._heads(sample)
        group = self._group.read(timeout=_PATIENCE)
        rows = tuple(self._row(sample, number, heads, group.owners.get(number)) for number in sorted(sample.ends))
        pace = pace_of(self._samples[0], sample, list(sample.positions))
        return Standing(
            time=time_of(round(time.time() * 1000)),
            group=self._settings.kafka.group_id,
            state=group.state,
            protocol=group.protocol,
            members=group.members,
            topic=self._settings.topics.jobs,
            partitions=rows,
            total=total_of(rows, pace),
            dead_letters=self._count(),
        )

    # --- positions and ends ---------------------------------------------------------------------------------------

    def _sample(self) -> Sample:
        at = self._clock()
        numbers = list(self._offsets.ends(timeout=TIMEOUT))
        committed = self._committed(numbers)
        ends = self._offsets(numbers, "latest", timeout=TIMEOUT)  # after the positions: never below them
        begins = self._offsets(numbers, "earliest", timeout=TIMEOUT)
        fresh = begins if self._settings.kafka.start == "earliest" else ends
        positions = {number: fresh[number] if offset is None else offset for number, offset in committed.items()}
        sample = Sample(at, positions, ends, begins, committed)
        self._samples.append(sample)
        while len(self._samples) > 2 and at - self._samples[0].at > WINDOW:
            self._samples.popleft()
        return sample

    def _committed(self, numbers: list[int]) -> dict[int, int | None]:
        """Without those that a delivery may still change."""
        found: dict[int, int | None] = {}
        end = self._clock() + _PATIENCE
        while len(found) < len(numbers) and self._clock() < end:
            with contextlib.suppress(Unavailable):
                found |= self._offsets.committed([one for one in numbers if one not in found], timeout=_ASK)
        return found

    # --- ages -----------------------------------------------------------------------------------------------------

    def _heads(self, sample: Sample) -> dict[int, int | None]:
        """The timestamp of the oldest unfinished record of each partition; None where there is none. Partitions
        that give no answer in time are left out."""
        topic = self._settings.topics.jobs
        lagging = {number: position for number, position in sample.positions.items() if position < sample.ends[number]}
        heads: dict[int, int | None] = {number: None for number in sample.positions if number not in lagging}
        if not lagging:
            return heads
        end = self._clock() + TIMEOUT
        starts = {(topic, number): position for number, position in lagging.items()}
        with Reader(self._settings, [topic], start=starts) as reader:
            while len(heads) < len(sample.positions) and self._clock() < end:
                for record in reader.poll():
                    heads.setdefault(record.partition, record.timestamp_ms)
                for number in lagging:
                    if reader.positions[topic, number] >= sample.ends[number]:
                        heads.setdefault(number, None)
        return heads

    def _row(self, sample: Sample, number: int, heads: Mapping[int, int | None], owner: Owner | None) -> PartitionLag:
        pace = pace_of(self._samples[0], sample, [number])
        position, head = sample.positions.get(number), heads.get(number)
        lag = None if position is None else max(0, sample.ends[number] - position)
        if number in heads and head is None:  # markers alone
            lag = 0
        return PartitionLag(
            partition=number,
            begin=sample.begins[number],
            end=sample.ends[number],
            committed=sample.committed.get(number),
            lag=lag,
            oldest_seconds=None if head is None else round(max(0.0, time.time() - head / 1000), 1),
            rate=None if pace is None else round(pace.done, 2),
            drains_in=None if pace is None or lag is None else pace.drains_in(lag),
            owner=owner,
            note=sample.note(number),
        )

    # --- dead letters ---------------------------------------------------------------------------------------------

    def _count(self) -> tuple[Row, ...]:
        """Those that came since the last look are added."""
        for seen in outcomes_of(self._arrived(), self._settings.topics, self.strangers):
            if isinstance(seen.outcome, DeadLetterView):
                self._tally.add(seen.outcome)
        return tuple(self._tally.rows)

    def _arrived(self) -> Iterator[Record]:
        end = self._clock() + TIMEOUT
        while self._clock() < end:
            records = self._dead_letters.poll()
            yield from records
            if not records and self._dead_letters.is_caught_up:
                return
