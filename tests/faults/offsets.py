"""What is on the jobs topic, where does it end, and how far has the group come there?"""

import time
from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests.rigs.outcomes import Source
from tests.rigs.topics import Topics

_SECONDS = 10
_LOOK = 0.2
_LONGEST = 120.0


def log_ends(topics: Topics, partitions: list[int]) -> dict[int, int]:
    """The offset behind the last record or marker of each partition."""
    consumer = _bystander(topics)
    try:
        return {
            number: consumer.get_watermark_offsets(TopicPartition(topics.jobs, number), timeout=_SECONDS)[1]
            for number in partitions
        }
    finally:
        consumer.close()


def published(topics: Topics, ends: Mapping[int, int]) -> dict[Source, bytes]:
    """All records below these ends, with their values: what is a job is told by the topic, not by the publisher, who is
    not always told where a record went (one that is sent again after its answer was lost), nor whether it is there
    twice."""
    consumer = _bystander(topics)
    found: dict[Source, bytes] = {}
    until = time.monotonic() + _LONGEST
    try:
        consumer.assign([TopicPartition(topics.jobs, number, 0) for number in ends])
        while any(at.offset < ends[at.partition] for at in consumer.position(consumer.assignment())):
            if time.monotonic() > until:
                raise TimeoutError(f"{topics.jobs} not read to the end within {_LONGEST:g} s: {len(found)} records")
            for record in consumer.consume(1000, 0.1):
                if record.error() is None:
                    source = Source(topics.jobs, int(record.partition() or 0), int(record.offset() or 0))
                    found[source] = bytes(record.value() or b"")
        return found
    finally:
        consumer.close()


def committed(
    topics: Topics, partitions: list[int], wanted: Mapping[int, int], *, within: float
) -> dict[int, int | None]:
    """The group's offsets, as soon as they are the wanted ones, or as they are after so many seconds."""
    consumer = _bystander(topics)
    end = time.monotonic() + within
    try:
        while True:
            found = _committed(consumer, topics, partitions)
            if found == wanted or time.monotonic() > end:
                return found
            time.sleep(_LOOK)
    finally:
        consumer.close()


def _committed(consumer: Consumer, topics: Topics, partitions: list[int]) -> dict[int, int | None]:
    asked = [TopicPartition(topics.jobs, number) for number in partitions]
    try:
        answers = consumer.committed(asked, timeout=_SECONDS)
    except KafkaException:
        return dict.fromkeys(partitions)
    return {at.partition: at.offset if at.offset >= 0 and not at.error else None for at in answers}


def _bystander(topics: Topics) -> Consumer:
    """In the group by its name alone: it never joins."""
    return Consumer({"bootstrap.servers": topics.bootstrap_servers, "group.id": topics.group, "log_level": 0})
