"""What does a `read_committed` reader see of the jobs that were published, and is it what was promised?"""

import json
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition


@dataclass(frozen=True, order=True)
class Source:
    """Who a job is: where its record lies on the jobs topic, and which job of that record it is."""

    topic: str
    partition: int
    offset: int
    index: int = 0


@dataclass(frozen=True)
class Outcome:
    """A result or dead letter as it lies on its topic."""

    topic: str
    partition: int
    offset: int
    source: Source
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]

    def header(self, name: str) -> str | None:
        """Return the last value of a header as text, or None."""
        return next((value.decode() for key, value in reversed(self.headers) if key == name), None)

    @property
    def reason(self) -> str | None:
        """Why it is a dead letter; None for a result."""
        return self.header("inspection-error-reason")


@dataclass(frozen=True)
class Verdict:
    """Jobs published against outcomes seen; every tuple is empty when the promises held."""

    lost: tuple[Source, ...]
    duplicated: tuple[Source, ...]
    unknown: tuple[Source, ...]
    out_of_order: tuple[Source, ...]
    scattered: tuple[tuple[str, int], ...]
    """Input partitions whose outcomes went to more than one partition of an output topic: a reader sees no order."""

    @property
    def is_clean(self) -> bool:
        return not any((self.lost, self.duplicated, self.unknown, self.out_of_order, self.scattered))

    def __str__(self) -> str:
        found = {name: len(sources) for name, sources in vars(self).items()}
        examples = {name: sources[:3] for name, sources in vars(self).items() if sources}
        return f"{found}, first ones: {examples}"


def judge(published: Iterable[Source], seen: Sequence[Outcome]) -> Verdict:
    """Compare what was published with what a reader saw; the order in which `seen` was collected does not matter."""
    wanted = set(published)
    times = Counter(outcome.source for outcome in seen)
    return Verdict(
        lost=tuple(sorted(wanted - times.keys())),
        duplicated=tuple(sorted(source for source, count in times.items() if count > 1)),
        unknown=tuple(sorted(times.keys() - wanted)),
        out_of_order=tuple(_out_of_order(seen)),
        scattered=tuple(_scattered(seen)),
    )


_Headers = list[tuple[str, bytes | None]]  # what Message.headers() really gives; its stub says more


class OutcomeReader:
    """Reads topics from their beginning, committed records alone, as no member of any group.

    It may read on while jobs are being done; `outcomes` grows with each call.
    """

    def __init__(self, bootstrap_servers: str, topics: Iterable[str]) -> None:
        self.outcomes: list[Outcome] = []
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": f"outcome-reader-{uuid.uuid4().hex}",  # librdkafka wants one; it is never joined
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 50,
            }
        )
        self._partitions = [
            TopicPartition(topic, partition, OFFSET_BEGINNING)
            for topic in topics
            for partition in self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
        ]
        self._ends: dict[tuple[str, int], int] = {}  # how far each partition was read, aborted records passed too
        self._consumer.assign(self._partitions)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def read_until(self, condition: Callable[[list[Outcome]], bool], *, within: float) -> list[Outcome]:
        """Read until `condition(outcomes)` holds; TimeoutError after `within` seconds."""
        end = time.monotonic() + within
        while not condition(self.outcomes):
            if time.monotonic() > end:
                raise TimeoutError(f"{len(self.outcomes)} outcomes after {within:g} s are not yet what was waited for")
            self._read(0.1)
        return self.outcomes

    def read_count(self, count: int, *, within: float) -> list[Outcome]:
        """Read at least `count` outcomes, then all that is committed by now, so that one too many shows too."""
        self.read_until(lambda seen: len(seen) >= count, within=within)
        return self.read_to_end()

    def read_to_end(self, *, within: float = 30) -> list[Outcome]:
        """Read all that is committed at the time of this call."""
        wanted = {(at.topic, at.partition): self._committed_end(at) for at in self._partitions}
        return self.read_until(lambda _: all(self._ends.get(at, 0) >= end for at, end in wanted.items()), within=within)

    def _committed_end(self, at: TopicPartition) -> int:
        """Return the last stable offset: librdkafka asks with the consumer's isolation level."""
        return self._consumer.get_watermark_offsets(at, timeout=10)[1]

    def _read(self, seconds: float) -> None:
        for record in self._consumer.consume(500, seconds):
            error = record.error()
            if error is None:
                self.outcomes.append(_outcome(record))
            elif error.code() == KafkaError._PARTITION_EOF:
                at = str(record.topic()), int(record.partition() or 0)
                self._ends[at] = int(record.offset() or 0)
            elif error.fatal() or not error.retriable():
                raise RuntimeError(f"the outcome reader got {error}")


def read_outcomes(
    bootstrap_servers: str, topics: Iterable[str], *, until: Callable[[list[Outcome]], bool], within: float
) -> list[Outcome]:
    """Read topics from their beginning until a condition holds; TimeoutError after `within` seconds."""
    with OutcomeReader(bootstrap_servers, topics) as reader:
        return reader.read_until(until, within=within)


def _outcome(record: Message) -> Outcome:
    headers = tuple((key, value or b"") for key, value in cast(_Headers, record.headers() or []))
    value = record.value()
    return Outcome(
        topic=str(record.topic()),
        partition=int(record.partition() or 0),
        offset=int(record.offset() or 0),
        source=_source(dict(headers), value),
        key=record.key(),
        value=value,
        headers=headers,
    )


def _source(headers: dict[str, bytes], value: bytes | None) -> Source:
    """Return a dead letter's coordinates from its headers, a result's from its value."""
    if "__connect.errors.topic" in headers:
        partition, offset = (int(headers[f"__connect.errors.{name}"]) for name in ("partition", "offset"))
        index = int(headers.get("inspection-job-index", b"0"))
        return Source(headers["__connect.errors.topic"].decode(), partition, offset, index)
    source = json.loads(value or b"null")["source"]
    return Source(source["topic"], source["partition"], source["offset"], source["index"])


def _out_of_order(seen: Iterable[Outcome]) -> Iterable[Source]:
    """Yield jobs that a reader of one output partition sees behind a later job of the same input partition."""
    newest: dict[tuple[str, int, str, int], tuple[int, int]] = {}
    for outcome in sorted(seen, key=lambda outcome: (outcome.topic, outcome.partition, outcome.offset)):
        source = outcome.source
        stream = outcome.topic, outcome.partition, source.topic, source.partition
        place = source.offset, source.index
        if place < newest.get(stream, place):
            yield source
        newest[stream] = max(place, newest.get(stream, place))


def _scattered(seen: Iterable[Outcome]) -> Iterable[tuple[str, int]]:
    outputs: defaultdict[tuple[str, int, str], set[int]] = defaultdict(set)
    for outcome in seen:
        outputs[outcome.source.topic, outcome.source.partition, outcome.topic].add(outcome.partition)
    return sorted({(topic, partition) for (topic, partition, _), taken in outputs.items() if len(taken) > 1})
