"""Where does the jobs topic end, and how far has the group come there?"""

import time
from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests.rigs.topics import Topics

_SECONDS = 10
_LOOK = 0.2


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
