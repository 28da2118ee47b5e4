"""What stands on a topic, for people and tools: committed records alone, and no group is joined for it."""

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal, Self, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from consumer.errors import SettingsError, Unavailable
from consumer.kafka.client import MISSING_ACL, consumer_properties, describe, make, missing_right
from consumer.kafka.headers import headers_of
from consumer.messages import Record
from consumer.settings import Settings

Place = tuple[str, int]  # topic and partition
Start = Literal["earliest", "latest"] | datetime | Mapping[Place, int]

TIMEOUT = 10.0
_MOST = 500
_WAIT = 0.2


class Reader:
    """Reads all partitions of some topics; use it in a `with`. It commits nothing and nobody's group sees it.

    `start` is earliest, latest, the time (of the records' timestamps) or the offset of each partition to begin at;
    partitions that a mapping does not name begin at their end. What is appended after the opening is read too, so that
    a caller who wants an end asks for `is_caught_up`.
    """

    def __init__(
        self, settings: Settings, topics: Sequence[str], *, start: Start = "earliest", timeout: float = TIMEOUT
    ) -> None:
        """Raises SettingsError for a topic that does not exist or may not be read, Unavailable without an answer."""
        self._timeout = timeout
        self._settings = settings
        properties = consumer_properties(settings) | {
            "group.id": f"{settings.kafka.group_id}-reader-{uuid.uuid4().hex[:8]}",  # librdkafka wants one, see _judge
            "statistics.interval.ms": 0,
            "fetch.wait.max.ms": 50,
            "log_level": 0,  # its calls say what went wrong
            "auto.offset.reset": "earliest",  # retention passed the position while we read
        }
        self._consumer = make(Consumer, properties)
        try:
            places = [place for topic in dict.fromkeys(topics) for place in self._places(topic)]
            watermarks = {place: self._watermarks(place) for place in places}
            self._begins = {place: low for place, (low, _) in watermarks.items()}
            self._ends = {place: high for place, (_, high) in watermarks.items()}
            self._positions = self._start(start)
            self._consumer.assign([TopicPartition(*place, offset) for place, offset in self._positions.items()])
        except BaseException:
            self._consumer.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    @property
    def begins(self) -> Mapping[Place, int]:
        """The first offset that each partition still had at the opening."""
        return self._begins

    @property
    def ends(self) -> Mapping[Place, int]:
        """The end of each partition at the opening: behind the last record that no open transaction hides."""
        return self._ends

    @property
    def positions(self) -> Mapping[Place, int]:
        """The offset to be read next in each partition; markers and aborted records are passed over."""
        return self._positions

    @property
    def is_caught_up(self) -> bool:
        """True once everything was read that was committed at the opening."""
        return all(self._positions[place] >= end for place, end in self._ends.items())

    def poll(self, timeout: float = _WAIT) -> list[Record]:
        """What came within `timeout` seconds, at most 500 records. Raises Unavailable or SettingsError."""
        records = []
        # consume(n, t) alone would wait the whole t unless n records come.
        messages = self._consumer.consume(1, timeout)
        if messages:
            messages += self._consumer.consume(_MOST - 1, 0)
        for message in messages:
            place = str(message.topic()), cast(int, message.partition())
            error = message.error()
            if error is None:
                records.append(_record(message))
                self._positions[place] = cast(int, message.offset()) + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                self._positions[place] = max(self._positions[place], cast(int, message.offset()))
            else:
                self._judge(error)
        return records

    def read_to_end(self) -> Iterator[Record]:
        """Everything that was committed at the opening. Raises Unavailable when nothing comes for `timeout` seconds."""
        heard_at = time.monotonic()
        while not self.is_caught_up:
            before = dict(self._positions)
            for record in self.poll():
                if record.offset < self._ends[record.topic, record.partition]:
                    yield record
            if self._positions != before:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > self._timeout:
                raise Unavailable("broker", f"{self._where} sends nothing for {self._timeout:g} s")

    # --- opening --------------------------------------------------------------------------------------------------

    @property
    def _where(self) -> str:
        return f"kafka broker {self._settings.kafka.bootstrap_servers}"

    def _places(self, topic: str) -> list[Place]:
        try:
            found = self._consumer.list_topics(topic, timeout=self._timeout).topics[topic]
        except KafkaException as error:
            raise Unavailable("broker", f"{self._where} does not answer: {describe(error.args[0])}") from error
        if found.error is not None:
            if found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise SettingsError(f"topic {topic} does not exist on {self._settings.kafka.bootstrap_servers}")
            self._judge(found.error)
        return [(topic, number) for number in sorted(found.partitions)]

    def _watermarks(self, place: Place) -> tuple[int, int]:
        try:
            answer = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=self._timeout)
        except KafkaException as error:
            self._judge(error.args[0])
            raise Unavailable("broker", f"offsets of {place[0]}: {describe(error.args[0])}") from error
        if answer is None:
            raise Unavailable("broker", f"{self._where} does not say where {place[0]} partition {place[1]} ends")
        return answer

    def _start(self, start: Start) -> dict[Place, int]:
        match start:
            case "earliest":
                return dict(self._begins)
            case "latest":
                return dict(self._ends)
            case datetime():
                return self._since(start)
            case _:
                return {
                    place: min(end, max(self._begins[place], start.get(place, end)))
                    for place, end in self._ends.items()
                }

    def _since(self, moment: datetime) -> dict[Place, int]:
        asked = [TopicPartition(*place, int(moment.timestamp() * 1000)) for place in self._ends]
        try:
            answers = self._consumer.offsets_for_times(asked, timeout=self._timeout)
        except KafkaException as error:
            raise Unavailable("broker", f"{self._where}: offsets by time: {describe(error.args[0])}") from error
        for answer in answers:
            if answer.error is not None:
                raise Unavailable("broker", f"{self._where}: offsets by time: {describe(answer.error)}")
        ends = self._ends
        return {
            (answer.topic, answer.partition): answer.offset
            if answer.offset >= 0
            else ends[answer.topic, answer.partition]
            for answer in answers
        }

    def _judge(self, error: KafkaError) -> None:
        """Raise what a reader cannot go on with; librdkafka mends the rest by itself.

        It asks for the group's coordinator though no group is joined: who may not know of it can read all the same.
        """
        if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            return
        if error.code() in MISSING_ACL:
            raise SettingsError(f"kafka: {missing_right(error)}")
        if error.fatal() or not (error.retriable() or error.code() in _PASSING):
            raise Unavailable("broker", f"{self._where}: {describe(error)}")


_PASSING = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._RESOLVE})


def _record(message: KafkaMessage) -> Record:
    return Record(
        topic=str(message.topic()),
        partition=cast(int, message.partition()),
        offset=cast(int, message.offset()),
        timestamp_ms=message.timestamp()[1],
        key=message.key(),
        value=message.value(),
        headers=headers_of(message),
    )
