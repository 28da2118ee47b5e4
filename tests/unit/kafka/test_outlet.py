"""Do outcomes reach the right topic and partition in order, and is a refused one found among its neighbours?

The producer is librdkafka's own, on its mock cluster: it sends, refuses and fills up as the real one does.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from consumer.kafka.outlet import Head, Isolation, Outlet, let_go
from consumer.kafka.topics import Topics
from consumer.ledger import Ledger
from consumer.messages import Message
from tests.unit.samples import a_letter, a_result

TOPICS = Topics("jobs", "results", "dead-letters", 12, 3, 2, 1_000_000, 1_000_000)
Produce = Callable[..., Producer]


def result(value: bytes = b"r") -> Message:
    return Message(a_result(), b"key", value, (("h", b"1"), ("h", None)))


def letter(value: bytes | None = b"d") -> Message:
    return Message(a_letter(), None, value, ())


class Heads:
    """Finished heads of a ledger with twelve partitions."""

    def __init__(self) -> None:
        self._ledger: Ledger[int, Message] = Ledger(lambda: 0.0)
        self._offset = 0
        for partition in range(12):
            self._ledger.assign(partition)

    def add(self, partition: int, *messages: Message) -> Head:
        self._offset += 1
        head = self._ledger.open(partition, self._offset, len(messages))
        for index, message in enumerate(messages):
            head.finish(index, message)
        return head


@pytest.fixture
def heads() -> Heads:
    return Heads()


@pytest.fixture
def produce(cluster: str) -> Produce:
    def produce(**properties: Any) -> Producer:
        own = {"bootstrap.servers": cluster, "enable.idempotence": True, "linger.ms": 1, "log_level": 0}
        return Producer(own | properties)

    return produce


def finish(producer: Producer, outlet: Outlet) -> None:
    assert producer.flush(10) == 0
    assert outlet.waiting == 0


def read(cluster: str, topic: str, count: int) -> list[tuple[int | None, Any, Any]]:
    """Partition, key and value of the topic's first records."""
    consumer = Consumer({"bootstrap.servers": cluster, "group.id": topic, "log_level": 0})
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(3)])
        records = consumer.consume(count, 20)
    finally:
        consumer.close()
    return [(record.partition(), record.key(), record.value()) for record in records]


def test_outcomes_of_one_partition_stay_in_one_partition_in_order(produce: Produce, cluster: str, heads: Heads) -> None:
    producer = produce()
    outlet = Outlet(TOPICS)
    outlet.send(
        producer,
        [
            heads.add(7, result(b"7a"), letter(b"7x"), result(b"7b")),
            heads.add(10, result(b"10a")),
            heads.add(7, result(b"7c")),
            heads.add(5, result(b"5a")),
        ],
    )
    assert outlet.waiting == 6
    finish(producer, outlet)

    records = read(cluster, "results", 5)
    assert [record for record in records if record[0] == 1] == [
        (1, b"key", b"7a"),
        (1, b"key", b"7b"),
        (1, b"key", b"10a"),
        (1, b"key", b"7c"),
    ]
    assert (2, b"key", b"5a") in records
    assert read(cluster, "dead-letters", 1) == [(1, None, b"7x")]
    assert outlet.failed == {}


def test_a_record_that_the_client_refuses_is_reported_and_the_others_go_on(produce: Produce, heads: Heads) -> None:
    producer = produce(**{"message.max.bytes": 2000})
    outlet = Outlet(TOPICS)
    small, large = heads.add(0, result()), heads.add(1, result(b"v" * 5000))
    outlet.send(producer, [large, small])
    finish(producer, outlet)

    assert outlet.refused == [large]
    assert outlet.failed[large].code() == KafkaError.MSG_SIZE_TOO_LARGE


def test_the_largest_refused_outcome_of_a_head_is_at_fault(produce: Produce, heads: Heads) -> None:
    producer = produce(**{"message.max.bytes": 2000})
    outlet = Outlet(TOPICS)
    head = heads.add(0, result(b"small"), letter(b"v" * 6000), result(b"v" * 5000))
    outlet.send(producer, [head])
    finish(producer, outlet)

    assert outlet.refused_job(head) == 1


def test_a_full_queue_is_waited_for(produce: Produce, heads: Heads) -> None:
    producer = produce(**{"queue.buffering.max.messages": 2})
    outlet = Outlet(TOPICS)
    outlet.send(producer, [heads.add(0, result()) for _ in range(20)])
    finish(producer, outlet)

    assert outlet.failed == {}


def test_what_the_world_is_to_blame_for_is_no_refusal(produce: Produce, heads: Heads) -> None:
    producer = produce(**{"bootstrap.servers": "127.0.0.1:1"})
    outlet = Outlet(TOPICS)
    head = heads.add(0, result())
    outlet.send(producer, [head])
    producer.purge()
    finish(producer, outlet)

    assert (list(outlet.failed), outlet.refused) == ([head], [])


def test_a_producer_that_is_let_go_with_records_on_their_way_ends(produce: Produce, heads: Heads) -> None:
    before = running_clients()
    producer = produce(**{"bootstrap.servers": "127.0.0.1:1"})
    outlet = Outlet(TOPICS)
    outlet.send(producer, [heads.add(0, result())])
    let_go(producer)
    assert outlet.waiting == 0
    del producer
    assert running_clients() == before


def running_clients() -> int:
    """How many clients of librdkafka this process has: each has one thread of this name."""
    return sum((task / "comm").read_text() == "rdk:main\n" for task in Path("/proc/self/task").iterdir())


# --- who is at fault ----------------------------------------------------------------------------------------------


def refusing(*heads: Head, code: int = KafkaError.MSG_SIZE_TOO_LARGE) -> Outlet:
    outlet = Outlet(TOPICS)
    for head in heads:
        outlet._report(head, 0, KafkaError(code), None)
    return outlet


def deliver(isolation: Isolation, heads: Sequence[Head], poison: Head) -> tuple[Head | None, list[Head]]:
    """One try on a broker that refuses every request with the poison in it: the culprit, and what went through."""
    selected = isolation.select(heads)
    if poison in selected:
        return isolation.culprit(selected, refusing(*selected)), []
    isolation.succeeded()
    return None, list(selected)


@pytest.mark.parametrize("place", range(4))
def test_the_one_that_is_refused_alone_is_at_fault(heads: Heads, place: int) -> None:
    isolation = Isolation()
    waiting = [heads.add(0, result()) for _ in range(4)]
    expected = waiting[:place]
    poison = waiting[place]
    gone: list[Head] = []
    culprit = None
    for _ in range(2 + place + 1):
        culprit, delivered = deliver(isolation, waiting, poison)
        gone += delivered
        waiting = [head for head in waiting if head not in delivered]

    assert culprit is poison
    assert gone == expected  # and none that comes after it


def test_a_single_refusal_may_be_chance_and_isolates_nobody(heads: Heads) -> None:
    isolation = Isolation()
    batch = [heads.add(0, result()) for _ in range(3)]
    assert isolation.culprit(batch, refusing(*batch)) is None
    assert isolation.select(batch) == batch

    isolation.succeeded()
    assert isolation.culprit(batch, refusing(*batch)) is None
    assert isolation.select(batch) == batch  # it was not in a row


def test_after_the_suspects_went_one_by_one_batches_are_whole_again(heads: Heads) -> None:
    isolation = Isolation()
    batch = [heads.add(0, result()) for _ in range(3)]
    for _ in range(2):
        isolation.culprit(batch, refusing(*batch))
    waiting = [*batch, heads.add(0, result())]
    for suspect in batch:
        assert isolation.select(waiting) == [suspect]
        isolation.succeeded()
        waiting.remove(suspect)
    waiting += [heads.add(0, result()), heads.add(1, result())]

    assert isolation.select(waiting) == waiting


def test_what_is_no_refusal_isolates_nobody(heads: Heads) -> None:
    isolation = Isolation()
    batch = [heads.add(0, result()) for _ in range(3)]
    for _ in range(5):
        assert isolation.culprit(batch, refusing(*batch, code=KafkaError._TIMED_OUT)) is None
    assert isolation.select(batch) == batch
