"""A topic in memory in the place of kafka/source.py: records, markers behind them, a group's offsets with notes."""

from collections.abc import Iterable, Sequence

from consumer.kafka.source import Listener
from consumer.messages import Record


class LogSource:
    """All partitions are ours as soon as it is opened; they go on from what is committed."""

    def __init__(self, topic: str, listener: Listener, *, partitions: int = 1) -> None:
        self.topic = topic
        self.logs: dict[int, list[Record]] = {number: [] for number in range(partitions)}
        self.markers = dict.fromkeys(range(partitions), 0)
        """Offsets without a record behind the last one."""
        self.commits: dict[int, tuple[int, str]] = {}
        self.paused: set[int] = set()
        self.is_open = False
        self.is_member = True
        self.broker_trouble: str | None = None
        self._listener = listener
        self._positions: dict[int, int] = {}

    def append(self, records: Iterable[Record]) -> None:
        for record in records:
            self.logs[record.partition].append(record)

    def open(self) -> None:
        self.is_open = True
        self._listener.assigned(sorted(self.logs))
        for partition in self.logs:
            offset, note = self.commits.get(partition, (0, ""))
            self._positions[partition] = offset
            self._listener.placed(partition, offset, note)

    def close(self) -> None:
        self.is_open = False
        self._listener.revoked(sorted(self.logs))
        self._positions.clear()

    @property
    def owned(self) -> frozenset[int]:
        return frozenset(self._positions)

    def poll(self, count: int) -> list[Record]:
        taken: list[Record] = []
        for partition in sorted(self.owned - self.paused):
            waiting = [record for record in self.logs[partition] if record.offset >= self._positions[partition]]
            part = waiting[: count - len(taken)]
            if part:
                self._positions[partition] = part[-1].offset + 1
            if len(part) == len(waiting) and self.logs[partition]:
                self._positions[partition] = self.end(partition)
            taken += part
        return taken

    def pump(self) -> list[Record]:
        self.pause(self.owned)
        return []

    def pause(self, partitions: Iterable[int]) -> None:
        self.paused |= set(partitions)

    def resume(self, partitions: Iterable[int]) -> None:
        self.paused -= set(partitions)

    def position(self, partition: int) -> int | None:
        return self._positions.get(partition)

    def high(self, partition: int) -> int | None:
        return self.end(partition)

    def end(self, partition: int) -> int:
        log = self.logs[partition]
        return log[-1].offset + 1 + self.markers[partition] if log else 0

    def committed(self, partitions: Sequence[int]) -> dict[int, int | None]:
        return {
            partition: self.commits[partition][0] if partition in self.commits else None for partition in partitions
        }

    def commit(self, offsets: dict[int, int]) -> None:
        for partition, offset in offsets.items():
            self.commits[partition] = (offset, self._listener.note(partition, offset))

    def commit_answer(self, offsets: dict[int, int]) -> tuple[None]:
        return (None,)
