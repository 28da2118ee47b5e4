"""Which waiting record may start next, so that no partition takes the room of the others.

Half of the room is shared out: every partition can always have its share of it in hand. The other half goes to
whoever has work. A partition with nothing in hand may always start one record, so none can be locked out.
Knows no Kafka: partitions are any hashable, records are anything.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

P = TypeVar("P", bound=Hashable)
R = TypeVar("R")

HIGH_MARK = 64  # waiting records at which a partition is paused; a pause throws its prefetch away, so it must be rare
LOW_MARK = 16


class Admission(Generic[P, R]):
    """The holding queues, one per partition. Used by one thread.

    `in_hand(partition)` says how many jobs of a partition are in the ledger; `room` bounds their sum.
    """

    def __init__(self, room: int, in_hand: Callable[[P], int]) -> None:
        self._room = room
        self._in_hand = in_hand
        self._queues: dict[P, deque[R]] = {}

    def assign(self, partition: P) -> None:
        self._queues[partition] = deque()

    def drop(self, partition: P) -> int:
        return len(self._queues.pop(partition, ()))

    def hold(self, partition: P, record: R) -> None:
        self._queues[partition].append(record)

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def first(self, partition: P) -> R | None:
        queue = self._queues.get(partition)
        return queue[0] if queue else None

    @property
    def wanted(self) -> int:
        """How many records to poll for: never less than one, since polling must go on (full partitions are paused)."""
        in_hand = sum(self._in_hand(partition) for partition in self._queues)
        # What the full ones hold does not count, else stuck partitions would slow the others' polling down.
        waiting = sum(len(queue) for queue in self._queues.values() if len(queue) < HIGH_MARK)
        return max(1, self._room + LOW_MARK - in_hand - waiting)

    def full(self) -> list[P]:
        """Partitions to be paused."""
        return [partition for partition, queue in self._queues.items() if len(queue) >= HIGH_MARK]

    def drained(self) -> list[P]:
        """Partitions that may be resumed."""
        return [partition for partition, queue in self._queues.items() if len(queue) <= LOW_MARK]

    def admitted(self, may_start: Callable[[P], bool] = lambda _: True) -> Iterator[tuple[P, R]]:
        """Take what may start now, one record a partition and round; the caller opens each in the ledger at once.
        A partition that may not start anything is passed over."""
        share = max(1, self._room // 2 // max(1, len(self._queues)))

        def borrowed(partition: P) -> int:
            return max(0, self._in_hand(partition) - share)

        lendable = self._room - share * len(self._queues) - sum(map(borrowed, self._queues))
        waiting = deque(partition for partition, queue in self._queues.items() if queue)
        while waiting:
            partition = waiting.popleft()
            before = borrowed(partition)
            if (self._in_hand(partition) >= share and lendable <= 0) or not may_start(partition):
                continue
            # Last in the order from now on, else the first would get all the room that frees up singly.
            queue = self._queues[partition] = self._queues.pop(partition)
            yield partition, queue.popleft()
            lendable -= borrowed(partition) - before
            if queue:
                waiting.append(partition)
