"""Jobs with their outcomes on real topics, as consumers leave them: transactions, markers, aborted attempts.

No consumer runs, so tens of thousands take seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from random import Random

from confluent_kafka import Producer

from consumer.messages import Message, Record
from tests.rigs.audit_rows import a_dead_letter_of, a_job_record, a_result_of
from tests.rigs.topics import Topics

_SECONDS = 30.0
_numbers = count()


@dataclass(frozen=True)
class Flow:
    """What was published: jobs by their places."""

    jobs: tuple[tuple[str, int, int], ...]


def publish_flow(topics: Topics, jobs: int, *, seed: int, per_transaction: int = 20) -> Flow:
    """`jobs` jobs round robin over the partitions, and one outcome for each; every ninth is a dead letter, every fifth
    transaction is tried once in vain before."""
    random = Random(seed)
    records = list(_publish_jobs(topics, jobs))
    producer = Producer(
        {
            "bootstrap.servers": topics.bootstrap_servers,
            "transactional.id": f"{topics.group}.{next(_numbers)}",
            "linger.ms": 1,
            "log_level": 0,
        }
    )
    producer.init_transactions(_SECONDS)
    for start in range(0, jobs, per_transaction):
        part = records[start : start + per_transaction]
        if random.random() < 0.2:
            producer.begin_transaction()
            _produce(producer, topics, part[: len(part) // 2])
            producer.flush(_SECONDS)  # else there may be no transaction yet that a broker could abort
            producer.abort_transaction(_SECONDS)
        producer.begin_transaction()
        _produce(producer, topics, part)
        producer.commit_transaction(_SECONDS)
    return Flow(tuple((record.topic, record.partition, record.offset) for record in records))


def _publish_jobs(topics: Topics, jobs: int) -> Iterator[Record]:
    now = datetime.now(UTC)
    values = [
        a_job_record(0, number, now, job_id=f"part-{number}", topic=topics.jobs).value or b"" for number in range(jobs)
    ]
    for source, value in zip(topics.publish(values), values, strict=True):
        yield Record(source.topic, source.partition, source.offset, int(now.timestamp() * 1000), None, value)


def _produce(producer: Producer, topics: Topics, records: list[Record]) -> None:
    for record in records:
        is_dead = record.offset % 9 == 8
        message: Message = a_dead_letter_of(record) if is_dead else a_result_of(record)
        producer.produce(
            topics.dead_letters if is_dead else topics.results,
            message.value,
            message.key,
            partition=record.partition,
            headers=list(message.headers),
        )
        producer.poll(0)
