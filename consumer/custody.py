"""Who had a partition last, how did that end, and which job may be to blame for it?

What an owner leaves behind for the next one stands in the metadata of the group's committed offset, a `Note`. An owner
says "held" before its first job and with each delivery, and "released" when it hands the partition over; so whoever
finds "held" by another process knows that this one died or was taken for dead. It then goes carefully for about as many
jobs as the dead one had in flight: one at a time, each marked as *in hand* right before its decoding, and only a
takeover that finds a mark counts against the marked job.
"""

import logging
import threading
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec

from consumer.errors import Abandoned
from consumer.ledger import Entry, Ledger, Place

logger = logging.getLogger(__name__)

AnyEntry = Entry[int, Any]
AnyPlace = Place[int, Any]

SCHEMA: Final = "inspection.custody/1"
DEATHS = 3
"""So many processes a job may end before it is set aside."""
RECHECK = 0.1  # seconds after which a worker that waits for leave asks whether its partition was taken away


class Owned(Protocol):
    """What is ours only as long as its partition is, under the same epoch."""

    @property
    def partition(self) -> int: ...
    @property
    def epoch(self) -> int: ...


class Position(NamedTuple):
    """Where a partition of ours stands in the group; to be committed again as it is, for its note alone."""

    partition: int
    epoch: int
    offset: int


class Delivered(NamedTuple):
    """What a delivery came to: per partition the offset below which everything is committed, and the positions whose
    notes went with it."""

    offsets: dict[int, int]
    noted: tuple[Position, ...] = ()


NOTHING = Delivered({})


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stands beside a committed offset. All counts are jobs from that offset on.

    `by` is a process; `in_flight` is about how many it had begun; the first `careful` are to be done one at a time, and
    if it happens again before the first `suspect` are done, all of those. `deaths` counts by a job's index in the
    record at the offset; `hand` is the index of the job that is in hand.
    """

    schema: Literal["inspection.custody/1"]
    by: str
    in_flight: int = 0
    released: bool = False
    careful: int = 0
    suspect: int = 0
    deaths: dict[int, int] = {}  # msgspec copies defaults
    hand: int | None = None


def read_note(text: str | None) -> Note | None:
    """None for what another program or version wrote: it tells us nothing."""
    try:
        return msgspec.json.decode(text or "", type=Note)
    except msgspec.DecodeError:
        return None


@dataclass(slots=True)
class Custody:
    """One partition while it is ours. `offset` is its committed position; `deaths` speak of the record there."""

    offset: int
    epoch: int
    careful: int = 0
    suspect: int = 0
    deaths: Mapping[int, int] = field(default_factory=dict)
    is_claimed: bool = False
    """The group knows that it is ours: without that nothing of it may be begun."""

    @classmethod
    def taken_over(cls, offset: int, epoch: int, text: str | None, *, by: str, most: int) -> "Custody":
        """From the note that was found; `most` is how many jobs of one partition a process can have begun."""
        note = read_note(text)
        if note is None:
            return cls(offset, epoch)
        if note.released or note.by == by:  # handed over, or taken from us while we lived
            return cls(offset, epoch, note.careful, note.suspect, note.deaths)
        deaths = dict(note.deaths)
        if note.hand is not None:
            deaths[note.hand] = deaths.get(note.hand, 0) + 1
        careful = max(note.in_flight, note.careful, note.suspect, 1 if deaths else 0)
        return cls(offset, epoch, careful, max(most, careful), deaths)

    def position(self, partition: int) -> Position:
        return Position(partition, self.epoch, self.offset)

    def moved(self, offset: int, jobs: int) -> None:
        """The position went on over so many jobs."""
        if offset != self.offset:
            self.offset, self.deaths = offset, {}
        self.careful = max(0, self.careful - jobs)
        self.suspect = max(0, self.suspect - jobs)


class Custodian:
    """All partitions that are ours. One job of the process at the most is *in hand*, from before its decoding until
    its outcome is delivered: of two marks that the next owner finds one would stand at an innocent. Workers `ask` and
    wait; everything else is called by the loop's thread."""

    def __init__(self, process: str, ledger: Ledger[int, Any], most: int) -> None:
        """`process` names this one among all; `most` is how many jobs it can have begun of one partition."""
        self._process = process
        self._ledger = ledger
        self._most = most
        self._custody: dict[int, Custody] = {}
        self._releasing: frozenset[int] = frozenset()
        self._marking: AnyPlace | None = None  # its mark is on its way
        self._marked: AnyPlace | None = None  # its mark stands in the group, or did last
        self._asking: deque[tuple[AnyPlace, threading.Event]] = deque()
        self._lock = threading.Lock()

    # --- from the first to the last -------------------------------------------------------------------------------

    def take_over(self, partition: int, offset: int, text: str) -> None:
        """The partition stands at this offset, with this note of the owner before."""
        epoch = self._ledger.epoch(partition)
        custody = Custody.taken_over(offset, epoch, text, by=self._process, most=self._most)
        self._custody[partition] = custody
        if custody.careful:
            facts = {"partition": partition, "offset": offset, "jobs": custody.careful, "deaths": dict(custody.deaths)}
            logger.warning("the owner before did not hand over: one job at a time", extra=facts)

    def moved(self, partition: int, offset: int, jobs: int) -> None:
        """This is committed, so many jobs further on."""
        if (custody := self._custody.get(partition)) is not None:
            custody.moved(offset, jobs)

    @contextmanager
    def releasing(self, partitions: Iterable[int]) -> Iterator[list[Position]]:
        """Inside of it notes say that these are handed over; gives what is to be noted so."""
        self._releasing = frozenset(partitions)
        claimed = ((number, self._custody.get(number)) for number in self._releasing)
        try:
            yield [custody.position(number) for number, custody in claimed if custody and custody.is_claimed]
        finally:
            self._releasing = frozenset()

    def drop(self, partition: int) -> None:
        self._custody.pop(partition, None)

    # --- what may begin -------------------------------------------------------------------------------------------

    def may_start(self, partition: int) -> bool:
        """Not before the group knows that the partition is ours, and in careful mode one record at a time."""
        custody = self._custody.get(partition)
        return custody is not None and custody.is_claimed and not (custody.careful and self._ledger.count(partition))

    @property
    def careful_count(self) -> int:
        """How many partitions are done one job at a time."""
        return sum(custody.careful > 0 for custody in self._custody.values())

    def is_careful(self, partition: int) -> bool:
        return self._custody[partition].careful > 0

    def has_killed(self, place: AnyPlace) -> bool:
        """Whether so many owners died with this job in hand that nobody is to try it again."""
        custody = self._custody[place.entry.partition]
        return place.entry.offset == custody.offset and custody.deaths.get(place.index, 0) >= DEATHS

    def ask(self, place: AnyPlace) -> None:
        """Wait until the group knows that this job is decoded next. Raises Abandoned when it is not ours any more."""
        granted = threading.Event()
        with self._lock:
            self._asking.append((place, granted))
        while not granted.wait(RECHECK) and not place.is_dropped:
            pass
        if place.is_dropped:
            raise Abandoned

    # --- what is written ------------------------------------------------------------------------------------------

    @property
    def holder(self) -> AnyEntry | None:
        """The record whose mark stands in the group."""
        entry = self._marked.entry if self._marked else None
        return entry if entry and self._ledger.oldest(entry.partition) is entry else None

    def notes(self, heads: Collection[AnyEntry]) -> list[Position]:
        """What is to be committed for its note, together with the outcomes of these entries: partitions of which the
        group does not know yet that they are ours, and the next job that is to be taken in hand."""
        claims = [custody.position(number) for number, custody in self._custody.items() if not custody.is_claimed]
        if self._marking is None or self._marking.is_dropped:
            self._marking = self._next(heads)
        return [*claims, _position(self._marking)] if self._marking else claims

    def _next(self, heads: Collection[AnyEntry]) -> AnyPlace | None:
        """Who is in hand next: while a record with a mark is not delivered, only another job of the same record."""
        holder = self.holder
        with self._lock:
            self._asking = deque(asked for asked in self._asking if not asked[0].is_dropped)
            places = (place for place, _ in self._asking)
            return next((place for place in places if holder is None or holder in (place.entry, *heads)), None)

    def noted(self, positions: Iterable[Position]) -> None:
        """The notes of these are committed."""
        for position in positions:
            custody = self._custody.get(position.partition)
            if custody is not None and custody.epoch == position.epoch:
                custody.is_claimed = True
            if self._marking is not None and _position(self._marking) == position:
                self._grant(self._marking)

    def _grant(self, place: AnyPlace) -> None:
        self._marked, self._marking = place, None
        with self._lock:
            granted = [event for asking, event in self._asking if asking == place]
            self._asking = deque(asked for asked in self._asking if asked[0] != place)
        for event in granted:
            event.set()

    def note(self, partition: int, offset: int, *, in_flight: int) -> str:
        """What the next owner must know if this is the last that we commit of the partition."""
        custody = self._custody.get(partition)
        if custody is None:
            return ""
        marks = (place for place in (self._marking, self._marked) if place and not place.is_dropped)
        place = next(marks, None)
        is_here = place is not None and (place.entry.partition, place.entry.offset) == (partition, offset)
        note = Note(
            SCHEMA,
            self._process,
            released=partition in self._releasing,
            in_flight=in_flight,
            careful=custody.careful,
            suspect=custody.suspect,
            deaths=dict(custody.deaths) if offset == custody.offset else {},
            hand=place.index if place and is_here and partition not in self._releasing else None,
        )
        return msgspec.json.encode(note).decode()


def _position(place: AnyPlace) -> Position:
    return Position(place.entry.partition, place.entry.epoch, place.entry.offset)
