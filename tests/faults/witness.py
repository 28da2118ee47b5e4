"""What does a `read_committed` reader see while a cell is struck, and how soon after a blow?"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tests.faults.jobs import print_and_answer, print_of
from tests.rigs.outcomes import Outcome, OutcomeReader
from tests.rigs.topics import Topics

Place = tuple[str, int]
_SECONDS = 2


def compact(outcome: Outcome) -> Outcome:
    """What the judge needs of it, in bytes instead of kilobytes: the value is the print, and a result's answer."""
    reason = outcome.reason
    if reason is not None:
        headers: tuple[tuple[str, bytes], ...] = (("inspection-error-reason", reason.encode()),)
        return replace(outcome, key=None, value=print_of(outcome.value).encode(), headers=headers)
    return replace(outcome, key=None, value="\n".join(print_and_answer(outcome.value)).encode(), headers=())


class CompactReader(OutcomeReader):
    """Keeps of each outcome what the judge needs; takes partitions in that are added while it reads."""

    def turn(self, seconds: float) -> list[Outcome]:
        """Read for so long; returns what is new."""
        known = len(self.outcomes)
        self._read(seconds)
        self.outcomes[known:] = fresh = [compact(outcome) for outcome in self.outcomes[known:]]
        return fresh

    def finish(self, *, within: float = 120) -> list[Outcome]:
        """Read all that is committed at the time of this call."""
        wanted = {(at.topic, at.partition): self._committed_end(at) for at in self._partitions}
        end = time.monotonic() + within
        while not all(self._ends.get(place, 0) >= offset for place, offset in wanted.items()):
            if time.monotonic() > end:
                raise TimeoutError(f"not read to the end within {within:g} s: {len(self.outcomes)} outcomes")
            self.turn(0.1)
        return self.outcomes

    def widen(self, topics: Topics, partitions: int) -> None:
        known = {(at.topic, at.partition) for at in self._partitions}
        wanted = [(topic, number) for topic in topics.outcomes for number in range(partitions)]
        fresh = [TopicPartition(*place, 0) for place in wanted if place not in known]
        self._partitions += fresh
        self._consumer.incremental_assign(fresh)


@dataclass
class Recovery:
    """How long after a blow's end came the first outcome, and the first of every partition that had jobs waiting?"""

    fault: str
    since: float
    waiting: set[int]
    beyond: Mapping[Place, int]
    """Where the output partitions ended at that moment: what lies below was committed before."""
    first: float | None = None
    every: float | None = None

    def see(self, outcome: Outcome, now: float) -> None:
        if self.every is not None or outcome.offset < self.beyond.get((outcome.topic, outcome.partition), 0):
            return
        if self.first is None:
            self.first = now - self.since
        self.waiting.discard(outcome.source.partition)
        if not self.waiting:
            self.every = now - self.since


class Witness:
    """Reads on in a thread of its own inside its `with`. `count` is how many outcomes it has seen, `grew_at` when it
    last saw one."""

    def __init__(self, topics: Topics, waiting: Callable[[Mapping[int, int]], set[int]]) -> None:
        """`waiting`, told how many outcomes each partition has, says which ones have jobs without."""
        self.recoveries: list[Recovery] = []
        self.grew_at = time.monotonic()
        self.trouble: str | None = None
        self._topics = topics
        self._waiting = waiting
        self._reader = CompactReader(topics.bootstrap_servers, topics.outcomes)
        self._admin = AdminClient({"bootstrap.servers": topics.bootstrap_servers, "log_level": 0})
        self._counts: dict[int, int] = {}
        self._wider = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="witness", daemon=True)

    def __enter__(self) -> "Witness":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._reader.__exit__()

    @property
    def count(self) -> int:
        return len(self._reader.outcomes)

    def finish(self) -> list[Outcome]:
        """All that is committed by now, in the order in which it was seen."""
        self._is_over.set()
        self._thread.join()
        return self._reader.finish()

    def widen(self, partitions: int) -> None:
        """Output topics have so many partitions from now on."""
        self._wider = partitions

    def healed(self, fault: str) -> Recovery:
        """A blow is over: from here its recovery counts."""
        recovery = Recovery(fault, time.monotonic(), self._waiting(self._counts), self._stable_ends())
        self.recoveries.append(recovery)
        return recovery

    def _stable_ends(self) -> dict[Place, int]:
        """Where readers of committed records are stopped now; nothing while no broker says it."""
        places = [
            TopicPartition(topic, number)
            for topic in self._topics.outcomes
            for number in range(self._topics.partitions)
        ]
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        try:
            asked = self._admin.list_offsets(
                dict.fromkeys(places, latest), isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=_SECONDS
            )
            return {(at.topic, at.partition): future.result().offset for at, future in asked.items()}
        except KafkaException:
            return {}

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                if self._wider:
                    self._reader.widen(self._topics, self._wider)
                    self._wider = 0
                self._look()
            except Exception as error:  # noqa: BLE001  # told by the verdict
                self.trouble = f"the concurrent reader failed: {type(error).__name__}: {error}"
                return

    def _look(self) -> None:
        fresh = self._reader.turn(0.1)
        now = time.monotonic()
        if fresh:
            self.grew_at = now
        open_ones = [recovery for recovery in self.recoveries if recovery.every is None]
        for outcome in fresh:
            self._counts[outcome.source.partition] = self._counts.get(outcome.source.partition, 0) + 1
            for recovery in open_ones:
                recovery.see(outcome, now)
