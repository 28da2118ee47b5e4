"""Which of the jobs that were just published have no outcome yet?"""

import itertools
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Self

from consumer.kafka.reader import Reader
from consumer.messages import Record
from consumer.outcomes import DeadLetterView, NotAnOutcome, read_outcome
from consumer.settings import Settings

_WAIT = 0.2
_MOST_EARLY = 10_000  # of a partition: far more than are worked there between a job's arrival and the word of it


class Awaited:
    """Jobs by their place on the jobs topic, and what became of them; those that have an outcome cost no memory.

    A second outcome of a job is passed over, and so are those of other people's jobs.
    """

    def __init__(self) -> None:
        self.results = 0
        self.dead_letters: Counter[str] = Counter()
        self.missing = 0
        self._open: defaultdict[int, set[int]] = defaultdict(set)
        # An outcome may be seen before the broker's word that the job is there. Those words come in the order of the
        # offsets, so an unknown job below the last one is somebody else's.
        self._last: dict[int, int] = {}
        self._early: defaultdict[int, dict[int, str | None]] = defaultdict(dict)
        self._is_complete = False

    def expect(self, partition: int, offset: int) -> None:
        self._last[partition] = offset
        early = self._early[partition]
        if offset in early:
            self._count(early[offset])
        else:
            self._open[partition].add(offset)
            self.missing += 1
        for foreign in [other for other in early if other <= offset]:
            del early[foreign]

    def complete(self) -> None:
        """No more jobs will be expected."""
        self._is_complete = True
        self._early.clear()

    def settle(self, partition: int, offset: int, reason: str | None) -> None:
        """There is an outcome: a dead letter where a reason is given, else a result."""
        if offset in self._open[partition]:
            self._open[partition].remove(offset)
            self.missing -= 1
            self._count(reason)
        elif not self._is_complete and offset > self._last.get(partition, -1):
            early = self._early[partition]
            early.setdefault(offset, reason)
            if len(early) > _MOST_EARLY:  # other people's, where none of ours lands
                del early[next(iter(early))]

    def first_missing(self, count: int) -> list[tuple[int, int]]:
        places = ((partition, offset) for partition in sorted(self._open) for offset in sorted(self._open[partition]))
        return list(itertools.islice(places, count))

    def _count(self, reason: str | None) -> None:
        if reason is None:
            self.results += 1
        else:
            self.dead_letters[reason] += 1


class Follower:
    """Follows the results and dead letters of what is published after it was made; use it in a `with`."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError or Unavailable, see `Reader`."""
        self._topics = settings.topics
        self._reader = Reader(settings, [self._topics.results, self._topics.dead_letters], start="latest")
        self.awaited = Awaited()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._reader.__exit__(*exception)

    def poll(self, timeout: float = 0.0) -> int:
        """Take in what came; returns how many records that were."""
        records = self._reader.poll(timeout)
        for record in records:
            self._take(record)
        return len(records)

    def wait(self, *, patience: float, stopping: threading.Event, tell: Callable[[], None]) -> None:
        """Until every job has its outcome, or no outcome of anybody's has come for `patience` seconds (while there are
        some the group works, and ours wait behind others), or `stopping` is set."""
        self.awaited.complete()
        heard_at = time.monotonic()
        while self.awaited.missing and not stopping.is_set() and time.monotonic() - heard_at < patience:
            if self.poll(_WAIT):
                heard_at = time.monotonic()
                tell()

    def _take(self, record: Record) -> None:
        try:
            outcome = read_outcome(record, self._topics)
        except NotAnOutcome:
            return
        source = outcome.source
        if source.topic == self._topics.jobs:
            reason = outcome.reason if isinstance(outcome, DeadLetterView) else None
            self.awaited.settle(source.partition, source.offset, reason)
