"""What does the delivery do about each error that a broker may answer to a transactional producer?

The table is the documentation: request and error of the broker → what is done, and in the end the outcome is out or the
process has ended by name. librdkafka's mock broker gives the answers, so the errors come through the client as it is
installed. It proves no isolation; what readers see is proven on real brokers.
"""

import weakref
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, Producer, TopicPartition

from consumer.errors import Fenced, SettingsError, Unavailable, Unreachable
from consumer.kafka import exactly_once
from consumer.kafka.doubt import Doubt
from consumer.kafka.exactly_once import ExactlyOnce
from consumer.kafka.outlet import Head
from consumer.kafka.source import Source
from consumer.kafka.topics import Topics
from consumer.ledger import Ledger
from consumer.messages import Message
from consumer.settings import Settings
from tests.rigs.deadline import wait_until
from tests.rigs.mock_errors import Api, MockCluster, mock_cluster
from tests.rigs.model_clients import metadata_of
from tests.rigs.watched import Watched, no_collector
from tests.unit.samples import a_result

pytestmark = pytest.mark.thorough

E = KafkaError
TOPICS = Topics("jobs", "results", "dead-letters", 4, 4, 4, 1_000_000, 1_000_000)
MANY = 60  # more than the client asks again within the bound of a call


class Action(Enum):
    """What is done, as it can be told from outside."""

    NOTHING = "the client repeats its request by itself"
    REPEAT = "the same call again; the producer is replaced before the next transaction"
    ABORT = "abort, then deliver again with the same producer"
    REPLACE = "a new producer, ask what was committed, deliver again"
    EXCHANGE = "a new producer, and another outcome in the place of the refused one"
    END = "end: another process has our transactional id"


DELIVERY: dict[Action, dict[Api, list[int]]] = {
    Action.NOTHING: {
        Api.AddPartitionsToTxn: [E.COORDINATOR_LOAD_IN_PROGRESS, E.NOT_COORDINATOR, E.CONCURRENT_TRANSACTIONS],
        Api.Produce: [
            E.NOT_LEADER_FOR_PARTITION,
            E.UNKNOWN_TOPIC_OR_PART,
            E.REQUEST_TIMED_OUT,
            E.NOT_ENOUGH_REPLICAS,
            E.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            E.KAFKA_STORAGE_ERROR,
            E.DUPLICATE_SEQUENCE_NUMBER,  # it is there already
        ],
        Api.AddOffsetsToTxn: [
            E.COORDINATOR_LOAD_IN_PROGRESS,
            E.COORDINATOR_NOT_AVAILABLE,
            E.NOT_COORDINATOR,
            E.CONCURRENT_TRANSACTIONS,
            E.REQUEST_TIMED_OUT,
        ],
        Api.TxnOffsetCommit: [
            E.COORDINATOR_LOAD_IN_PROGRESS,
            E.COORDINATOR_NOT_AVAILABLE,
            E.NOT_COORDINATOR,
            E.CONCURRENT_TRANSACTIONS,
            E.REQUEST_TIMED_OUT,
            E.UNKNOWN_TOPIC_OR_PART,
        ],
        Api.EndTxn: [
            E.COORDINATOR_LOAD_IN_PROGRESS,
            E.COORDINATOR_NOT_AVAILABLE,
            E.NOT_COORDINATOR,
            E.CONCURRENT_TRANSACTIONS,
        ],
    },
    Action.ABORT: {
        Api.AddPartitionsToTxn: [
            E.INVALID_PRODUCER_ID_MAPPING,
            E.TOPIC_AUTHORIZATION_FAILED,
            E.REQUEST_TIMED_OUT,
            E.TRANSACTION_ABORTABLE,
            E.UNKNOWN,
        ],
        Api.Produce: [
            E.UNKNOWN_PRODUCER_ID,
            E.INVALID_PRODUCER_ID_MAPPING,
            E.INVALID_TXN_STATE,
            E.PRODUCER_FENCED,  # the abort that follows meets the fence, and ends the process
            E.TOPIC_AUTHORIZATION_FAILED,
            E.POLICY_VIOLATION,
            E.TRANSACTION_ABORTABLE,
            E.UNKNOWN,
        ],
        Api.AddOffsetsToTxn: [
            E.INVALID_PRODUCER_ID_MAPPING,
            E.PRODUCER_FENCED,  # as above
            E.GROUP_AUTHORIZATION_FAILED,
            E.TRANSACTION_ABORTABLE,
            E.UNKNOWN,
        ],
        Api.TxnOffsetCommit: [
            E.ILLEGAL_GENERATION,
            E.UNKNOWN_MEMBER_ID,
            E.FENCED_INSTANCE_ID,
            E.FENCED_MEMBER_EPOCH,
            E.STALE_MEMBER_EPOCH,
            E.REBALANCE_IN_PROGRESS,
            E.UNSTABLE_OFFSET_COMMIT,
            E.OFFSET_METADATA_TOO_LARGE,
            E.PRODUCER_FENCED,  # as above
            E.GROUP_AUTHORIZATION_FAILED,
            E.TRANSACTION_ABORTABLE,
            E.UNKNOWN,
        ],
        Api.EndTxn: [
            E.INVALID_PRODUCER_ID_MAPPING,
            E.REQUEST_TIMED_OUT,
            E.TRANSACTION_ABORTABLE,
            E.UNKNOWN,
        ],
    },
    Action.REPLACE: {
        Api.AddPartitionsToTxn: [E.INVALID_TXN_STATE, E.TRANSACTIONAL_ID_AUTHORIZATION_FAILED],
        Api.Produce: [E.OUT_OF_ORDER_SEQUENCE_NUMBER],
        Api.AddOffsetsToTxn: [E.INVALID_TXN_STATE, E.TRANSACTIONAL_ID_AUTHORIZATION_FAILED],
        Api.TxnOffsetCommit: [
            E.INVALID_TXN_STATE,
            E.INVALID_PRODUCER_ID_MAPPING,
            E.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        ],
        Api.EndTxn: [E.INVALID_TXN_STATE, E.TRANSACTIONAL_ID_AUTHORIZATION_FAILED],
    },
    Action.EXCHANGE: {
        Api.Produce: [E.MSG_SIZE_TOO_LARGE, E.RECORD_LIST_TOO_LARGE, E.INVALID_RECORD],
    },
    Action.END: {
        Api.AddPartitionsToTxn: [E.INVALID_PRODUCER_EPOCH, E.PRODUCER_FENCED],
        Api.Produce: [E.INVALID_PRODUCER_EPOCH],
        Api.AddOffsetsToTxn: [E.INVALID_PRODUCER_EPOCH],
        Api.TxnOffsetCommit: [E.INVALID_PRODUCER_EPOCH],
        Api.EndTxn: [E.INVALID_PRODUCER_EPOCH, E.PRODUCER_FENCED],
    },
}


class Start(Enum):
    """What is done about an answer to InitProducerId before the group is joined."""

    NOTHING = "the client repeats its request by itself"
    ANOTHER = "Unavailable; the next try has another producer"
    SETTINGS = "SettingsError, exit 2: what a person must mend"


START: dict[Start, list[int]] = {
    Start.NOTHING: [
        E.COORDINATOR_LOAD_IN_PROGRESS,
        E.COORDINATOR_NOT_AVAILABLE,
        E.CONCURRENT_TRANSACTIONS,
        E.INVALID_PRODUCER_ID_MAPPING,
        E.REQUEST_TIMED_OUT,
        E.UNKNOWN,
    ],
    Start.ANOTHER: [E.INVALID_PRODUCER_EPOCH, E.PRODUCER_FENCED],
    Start.SETTINGS: [
        E.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        E.CLUSTER_AUTHORIZATION_FAILED,
        E.INVALID_TRANSACTION_TIMEOUT,
    ],
}


class Membership:
    """As much of a source as a delivery asks for: we are a member, nothing was committed by the call in doubt."""

    owned = frozenset({0})

    def noted(self, offsets: dict[int, int]) -> list[TopicPartition]:
        return [TopicPartition("jobs", partition, offset, metadata="") for partition, offset in offsets.items()]

    def group_metadata(self) -> bytes:
        return metadata_of(1, "member") + b"\1"

    def committed(self, partitions: Sequence[int]) -> dict[int, int | None]:
        return dict.fromkeys(partitions)


class Trial:
    """One delivery, and what can be seen of what it does."""

    def __init__(self, cluster: MockCluster) -> None:
        quick = {"retry.backoff.ms": 5, "retry.backoff.max.ms": 10, "enable.sparse.connections": False}
        quiet = {"log_level": 0}
        self._known: list[weakref.ref[Watched]] = []
        self.pumped: list[str] = []
        self.exchanged: list[Head] = []
        self.ledger: Ledger[int, Message] = Ledger(lambda: 0.0)
        self.ledger.assign(0)
        self.delivery = ExactlyOnce(
            Settings(
                images=cast("Any", {"allowed_buckets": ["parts"]}),
                kafka=cast("Any", {"bootstrap_servers": cluster.bootstrap_servers, "extra": quick | quiet}),
            ),
            TOPICS,
            cast("Source", Membership()),
            slot="a",
            owns=lambda _: True,
            pump=self.pumped.append,
            exchange=lambda head, _, __: self.exchanged.append(head),
        )

    def make(self, properties: dict[str, Any]) -> Producer:
        producer = Watched(properties | {"statistics.interval.ms": 0})  # counters would cast doubt by chance
        self._known.append(weakref.ref(producer))
        return producer

    @property
    def producers(self) -> int:
        """How many were made."""
        return len(self._known)

    @property
    def living(self) -> int:
        return sum(known() is not None for known in self._known)

    def open(self) -> None:
        wait_until(self._is_open, within=20, what="the transactional id is registered")

    def _is_open(self) -> bool:
        try:
            self.delivery.open()
        except Unavailable:
            return False
        return True

    def deliver(self, offset: int) -> int:
        """Try until one more outcome is out. Gives the number of tries."""
        head = self.ledger.open(0, offset, 1)
        head.finish(0, Message(a_result(), None, b"x", ()))
        tries: list[dict[int, int]] = []

        def is_delivered() -> bool:
            tries.append(self.delivery.deliver([head]).offsets)
            return bool(tries[-1])

        wait_until(is_delivered, within=20, what="the outcome is out")
        assert tries[-1] == {0: offset + 1}
        self.ledger.remove_below(0, offset + 1)
        return len(tries)

    def act(self) -> Action:
        """Deliver once, and tell from outside what was done about the errors on the way."""
        try:
            tries = self.deliver(0)
        except Fenced:
            return Action.END
        if self.exchanged:
            return Action.EXCHANGE
        if self.producers > 1:
            return Action.REPLACE
        if tries > 1:
            return Action.ABORT
        return Action.REPEAT if self.pumped else Action.NOTHING


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    """One for each test, else a client of the test before might be given the answer."""
    with mock_cluster() as cluster:
        for topic in (TOPICS.jobs, TOPICS.results, TOPICS.dead_letters):
            cluster.create(topic, 4)
        yield cluster


Begin = Callable[[], Trial]


@pytest.fixture
def begin(cluster: MockCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """A delivery whose transactional id is registered."""
    trial = Trial(cluster)
    monkeypatch.setattr(exactly_once, "Producer", trial.make)
    monkeypatch.setattr(exactly_once, "REFUSED_PAUSE", 0.0)
    for event in ("on_start", "on_end"):
        monkeypatch.setattr(Doubt, event, lambda _: None)  # its producers have no statistics

    def opened() -> Trial:
        trial.open()
        return trial

    yield opened
    trial.delivery.close()


def rows(table: dict[Action, dict[Api, list[int]]]) -> list[Any]:
    return [
        pytest.param(api, code, action, id=f"{api.name}-{KafkaError(code).name()}-{action.name}".lower())
        for action, errors in table.items()
        for api, codes in errors.items()
        for code in codes
    ]


@pytest.mark.parametrize(("api", "code", "action"), rows(DELIVERY))
def test_an_answer_of_the_broker_has_its_action(
    cluster: MockCluster, begin: Begin, api: Api, code: int, action: Action
) -> None:
    trial = begin()
    cluster.fail(api, [code])
    assert trial.act() is action


@pytest.mark.parametrize("code", [E.ILLEGAL_GENERATION, E.UNKNOWN])
def test_a_producer_whose_abort_was_not_answered_at_once_ends_when_it_is_replaced(
    cluster: MockCluster, begin: Begin, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """One that lived on would gather statistics, half a megabyte a second."""
    trial = begin()
    monkeypatch.setattr(exactly_once, "CALL_TIMEOUT", 0.2)
    cluster.fail(Api.TxnOffsetCommit, [code])
    cluster.delay(Api.EndTxn, 300)
    with no_collector():
        trial.deliver(0)
        assert "_TIMED_OUT" in trial.pumped[0]  # so of the abort, not only of the call before it
        trial.deliver(1)
        assert (trial.producers, trial.living) == (2, 1)


def refuse_the_next_producer(
    cluster: MockCluster, trial: Trial, monkeypatch: pytest.MonkeyPatch, *, times: int
) -> None:
    """The next delivery needs another producer, and the broker is still at the last transaction of its id."""
    monkeypatch.setattr(exactly_once, "CALL_TIMEOUT", 0.1)
    monkeypatch.setattr(exactly_once, "LONGEST_CALL", 0.2)
    trial.delivery._doubt.mark("in doubt")
    cluster.fail(Api.InitProducerId, [E.CONCURRENT_TRANSACTIONS] * times)


def test_a_transactional_id_that_the_broker_does_not_let_go_of_ends_the_process(
    cluster: MockCluster, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others have its partitions then, and the next process has an id of its own; who waited would wait for ever."""
    trial = begin()
    monkeypatch.setattr(exactly_once, "FREED_WITHIN", 1.0)
    refuse_the_next_producer(cluster, trial, monkeypatch, times=10_000)
    with pytest.raises(
        Unreachable, match=r"has not ended the last transaction of \S+ for 1 s: CONCURRENT_TRANSACTIONS"
    ):
        trial.deliver(0)


def test_a_transactional_id_that_is_free_in_time_is_used_again(
    cluster: MockCluster, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = begin()
    refuse_the_next_producer(cluster, trial, monkeypatch, times=8)
    held = []

    def is_free() -> bool:
        trial.delivery.deliver([])
        held.append(trial.delivery._held_since is not None)
        return trial.delivery._stale is None

    wait_until(is_free, within=20, what="the transactional id is registered again")
    assert held[0]
    assert not held[-1]


@pytest.mark.parametrize(
    "api", [Api.AddPartitionsToTxn, Api.Produce, Api.AddOffsetsToTxn, Api.EndTxn], ids=lambda api: api.name
)
def test_a_call_without_an_answer_is_repeated_and_its_producer_then_replaced(
    cluster: MockCluster, begin: Begin, monkeypatch: pytest.MonkeyPatch, api: Api
) -> None:
    trial = begin()
    monkeypatch.setattr(exactly_once, "CALL_TIMEOUT", 0.2)
    cluster.delay(api, 300)

    assert trial.act() is Action.REPEAT
    assert trial.producers == 1
    trial.deliver(1)
    assert trial.producers == 2  # what was given up may still be on its way


@pytest.mark.parametrize("api", [Api.AddOffsetsToTxn, Api.EndTxn], ids=lambda api: api.name)
def test_a_broker_that_stays_unwell_gets_the_same_call_until_it_is_well(
    cluster: MockCluster, begin: Begin, monkeypatch: pytest.MonkeyPatch, api: Api
) -> None:
    trial = begin()
    monkeypatch.setattr(exactly_once, "CALL_TIMEOUT", 0.2)
    cluster.fail(api, [E.COORDINATOR_LOAD_IN_PROGRESS] * MANY)

    assert trial.act() is Action.REPEAT
    assert cluster.count(api) > MANY  # one more may be on its way when the call is given up


@pytest.mark.parametrize("api", [Api.TxnOffsetCommit, Api.EndTxn], ids=lambda api: api.name)
def test_after_a_fence_of_an_old_transaction_the_producer_is_replaced_once(
    cluster: MockCluster, begin: Begin, monkeypatch: pytest.MonkeyPatch, api: Api
) -> None:
    """librdkafka reports the coordinator's time-out and another owner of the id alike."""
    trial = begin()
    trial.delivery._transaction_timeout = 0.0  # however young, ours counts as old
    cluster.fail(api, [E.INVALID_PRODUCER_EPOCH])
    assert trial.act() is Action.REPLACE

    cluster.fail(api, [E.INVALID_PRODUCER_EPOCH])  # and again within a minute
    with pytest.raises(Fenced, match="another process uses transactional id"):
        trial.deliver(1)


@pytest.mark.parametrize(
    ("code", "start"),
    [
        pytest.param(code, start, id=f"{KafkaError(code).name()}-{start.name}".lower())
        for start, codes in START.items()
        for code in codes
    ],
)
def test_an_answer_at_the_start_has_its_action(cluster: MockCluster, begin: Begin, code: int, start: Start) -> None:
    cluster.fail(Api.InitProducerId, [code])
    if start is Start.SETTINGS:
        with pytest.raises(SettingsError):
            begin()
        return
    trial = begin()
    assert trial.producers == (1 if start is Start.NOTHING else 2)
    assert trial.deliver(0) == 1


def test_a_start_without_an_answer_in_time_is_tried_again_with_the_same_producer(
    cluster: MockCluster, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one would begin from nothing, and the first would live on beside it."""
    monkeypatch.setattr(exactly_once, "CALL_TIMEOUT", 0.2)
    cluster.delay(Api.InitProducerId, 1000)
    trial = begin()
    assert trial.producers == 1
    assert trial.deliver(0) == 1


def test_a_new_producer_that_is_fenced_at_once_ends_the_process(cluster: MockCluster, begin: Begin) -> None:
    trial = begin()
    cluster.fail(Api.EndTxn, [E.INVALID_TXN_STATE])
    cluster.fail(Api.InitProducerId, [E.PRODUCER_FENCED])
    assert trial.act() is Action.END
