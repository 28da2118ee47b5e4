"""Which outcomes can a `read_committed` reader see, and since when?"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from confluent_kafka import Consumer, TopicPartition

from benchmarks.accuracy import Row
from tests.rigs.topics import Topics


@dataclass(frozen=True, slots=True)
class Seen:
    """An outcome's bytes and when it was seen; `is_result` is false for a dead letter."""

    value: bytes
    at: float
    is_result: bool

    @property
    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.value)
        return body

    @property
    def rows(self) -> list[Row]:
        return [(*found["box"], found["confidence"], found["class_id"]) for found in self.body["detections"]]


class Watcher:
    """Reads results and dead letters of one sample's own topics from their beginning."""

    def __init__(self, topics: Topics) -> None:
        self._results = topics.results
        settings = {
            "bootstrap.servers": topics.bootstrap_servers,
            "group.id": f"{topics.group}.watcher",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 100,
        }
        self._consumer = Consumer(settings)
        self._consumer.assign(
            [TopicPartition(topic, number, 0) for topic in topics.outcomes for number in range(topics.partitions)]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def take(self, count: int, *, within: float, check: Callable[[], None]) -> list[Seen]:
        """The next `count` outcomes. Raises TimeoutError after `within` seconds, and what `check` raises."""
        end = time.time() + within
        seen: list[Seen] = []
        while len(seen) < count:
            record = self._consumer.poll(0.25)  # not `consume`, which waits for all that it was asked for
            at = time.time()
            if record is not None and record.error() is None:
                seen.append(Seen(record.value() or b"{}", at, record.topic() == self._results))
                continue
            check()
            if at > end:
                raise TimeoutError(f"{len(seen)} of {count} outcomes within {within:.0f} s")
        return seen

    def until(self, moment: float) -> list[Seen]:
        """What can be seen until then, by the wall clock."""
        seen: list[Seen] = []
        while (left := moment - time.time()) > 0:
            record = self._consumer.poll(left)
            if record is not None and record.error() is None:
                seen.append(Seen(record.value() or b"{}", time.time(), record.topic() == self._results))
        return seen
