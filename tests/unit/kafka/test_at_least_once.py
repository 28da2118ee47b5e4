"""Which offsets are committed when only some of the outcomes got out?

The producer is librdkafka's own, on its mock cluster; the group answers when the test says so.
"""

import weakref
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from consumer.kafka import at_least_once
from consumer.kafka.at_least_once import AtLeastOnce
from consumer.kafka.outlet import Head
from consumer.kafka.topics import Topics
from consumer.ledger import Ledger
from consumer.messages import Message
from consumer.settings import Settings
from tests.rigs.deadline import wait_until
from tests.rigs.mock_errors import Api, mock_cluster
from tests.rigs.watched import Watched, no_collector
from tests.unit.samples import a_result

TOPICS = Topics("jobs", "results", "dead-letters", 4, 4, 4, 1_000_000, 1_000_000)
LIMIT = 5000


class Group:
    """Takes commits; `answer` is None until the group has one."""

    def __init__(self) -> None:
        self.commits: list[dict[int, int]] = []
        self.answer: tuple[KafkaError | None] | None = None

    def commit(self, offsets: dict[int, int]) -> None:
        self.commits.append(offsets)

    def commit_answer(self, offsets: dict[int, int]) -> tuple[KafkaError | None] | None:
        return self.answer


class Rig:
    """A delivery with heads of two partitions; a head of 9 kB is refused."""

    def __init__(self, servers: str) -> None:
        self.ledger: Ledger[int, Message] = Ledger(lambda: 0.0)
        for partition in (0, 1):
            self.ledger.assign(partition)
        self.group = Group()
        self.exchanged: list[tuple[int, int]] = []
        settings = Settings.model_validate(
            {
                "kafka": {"bootstrap_servers": servers, "extra": {"message.max.bytes": LIMIT}},
                "images": {"allowed_buckets": ["parts"]},
            }
        )
        self.delivery = AtLeastOnce(
            settings,
            TOPICS,
            self.group,  # type: ignore[arg-type]
            owns=lambda head: self.ledger.owns(head.partition, head.epoch),
            pump=lambda _: None,
            exchange=self.exchange,
        )

    def add(self, partition: int, offset: int, size: int = 10) -> None:
        head = self.ledger.open(partition, offset, 1)
        head.finish(0, Message(a_result(), None, bytes(size), ()))

    def exchange(self, head: Head, index: int, _: str) -> None:
        self.exchanged.append((head.partition, head.offset))
        head.replace(index, Message(a_result(), None, b"smaller", ()))

    def deliver(self) -> dict[int, int]:
        delivered = self.delivery.deliver(self.ledger.finished_heads(100)).offsets
        for partition, offset in delivered.items():
            self.ledger.remove_below(partition, offset)
        return delivered


@pytest.fixture
def rig(cluster: str) -> Iterator[Rig]:
    rig = Rig(cluster)
    yield rig
    rig.delivery.close()


def test_nothing_behind_an_outcome_that_did_not_get_out_is_committed(rig: Rig) -> None:
    for offset, size in ((4, 10), (7, 9000), (8, 10)):
        rig.add(0, offset, size)
    rig.add(1, 3)

    rig.deliver()

    assert rig.group.commits == [{0: 5, 1: 4}]


def test_a_refused_outcome_is_exchanged_and_then_all_is_committed(rig: Rig) -> None:
    for offset, size in ((4, 10), (7, 9000), (8, 10)):
        rig.add(0, offset, size)
    rig.group.answer = (None,)
    for _ in range(10):
        rig.deliver()

    assert rig.exchanged == [(0, 7)]
    assert rig.group.commits[-1] == {0: 9}
    assert rig.ledger.finished_heads(100) == []


def test_a_refused_commit_is_sent_again_and_the_outcomes_are_not(rig: Rig, cluster: str) -> None:
    rig.delivery._live().list_topics(TOPICS.results, timeout=10)  # which makes it
    before = _end(cluster, 1)
    rig.add(1, 3)
    rig.deliver()
    assert rig.deliver() == {}  # no answer yet
    rig.group.answer = (KafkaError(KafkaError.REBALANCE_IN_PROGRESS),)
    assert rig.deliver() == {}
    rig.deliver()
    rig.group.answer = (None,)
    assert rig.deliver() == {1: 4}

    assert rig.group.commits == [{1: 4}, {1: 4}]
    assert _end(cluster, 1) == before + 1


def test_outcomes_of_a_partition_that_went_away_are_not_committed(rig: Rig) -> None:
    rig.add(0, 4)
    rig.add(1, 3)
    heads = rig.ledger.finished_heads(100)
    rig.ledger.drop(0)
    rig.ledger.assign(0)

    rig.delivery.deliver(heads)

    assert rig.group.commits == [{1: 4}]


def _end(cluster: str, partition: int) -> int:
    reader = Consumer({"bootstrap.servers": cluster, "group.id": "reader"})
    end = int(reader.get_watermark_offsets(TopicPartition(TOPICS.results, partition), timeout=10)[1])
    reader.close()
    return end


@pytest.mark.parametrize("is_tended", [True, False])
def test_a_producer_with_a_fatal_error_is_replaced_and_ends(monkeypatch: pytest.MonkeyPatch, is_tended: bool) -> None:
    monkeypatch.setattr(at_least_once, "Producer", Watched)
    with mock_cluster() as broker:
        for topic in (TOPICS.results, TOPICS.dead_letters):
            broker.create(topic, 4)
        rig = Rig(broker.bootstrap_servers)
        rig.group.answer = (None,)
        rig.add(0, 3)
        rig.deliver()
        first = weakref.ref(rig.delivery._live())
        assert rig.group.commits == [{0: 4}]

        broker.fail(Api.Produce, [KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER])
        rig.add(0, 4)

        def is_out() -> bool:
            rig.deliver()
            if is_tended:
                rig.delivery.tend()
            return {0: 5} in rig.group.commits

        with no_collector():
            wait_until(is_out, within=20, what="the outcome is out")
            assert first() is None
        rig.delivery.close()
