"""When does the delivery give up a call, a transaction or a producer?

A scripted producer stands for the transaction where the answer of a call decides; else it is librdkafka's own, on its
mock cluster.
"""

import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from consumer.custody import NOTHING, Delivered, Owned, Position
from consumer.errors import Fatal
from consumer.kafka import bounded, exactly_once
from consumer.kafka.doubt import Doubt
from consumer.kafka.exactly_once import MOST_REPLACEMENTS, ExactlyOnce, NotOurs, OutOfTime
from consumer.kafka.outlet import Outlet
from consumer.kafka.topics import Topics
from consumer.ledger import Ledger
from consumer.messages import Message
from consumer.settings import ImageSettings, KafkaSettings, Settings
from tests.rigs.deadline import wait_until

TOPICS = Topics("jobs", "results", "dead-letters", 4, 4, 4, 1_000_000, 1_000_000)
TIMED_OUT = KafkaException(KafkaError(KafkaError._TIMED_OUT))
WITHDRAWN = KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED, "", False, False, True))
HERE = Position(partition=0, epoch=1, offset=6)


class Member:
    """A source that is a member and owns partitions 0 and 1; `offsets` is what the group answers."""

    def __init__(self) -> None:
        self.owned = frozenset({0, 1})
        self.offsets: dict[int, int | None] = {}
        self.metadata: bytes | None = b"CGMDv2:" + struct.pack("<i", 1) + b"group\0member\0"

    def group_metadata(self) -> bytes | None:
        return self.metadata

    def noted(self, offsets: dict[int, int]) -> list[TopicPartition]:
        return [TopicPartition("jobs", *position) for position in offsets.items()]

    def committed(self, partitions: list[int]) -> dict[int, int | None]:
        return {partition: offset for partition, offset in self.offsets.items() if partition in partitions}


class Scripted:
    """A producer whose calls succeed, but for those that have an error; `statistics` come while it is waited for."""

    def __init__(self, *, statistics: str | None = '{"brokers": {}}', **errors: KafkaException) -> None:
        self.errors = errors
        self.statistics = statistics
        self.told: Callable[[str], None]
        self.is_aborted = False
        self.polled = 0

    def poll(self, timeout: float) -> None:
        self.polled += 1
        if timeout and self.statistics is not None:
            self.told(self.statistics)

    def purge(self) -> None: ...
    def begin_transaction(self) -> None: ...
    def produce(self, *_: object, **__: object) -> None: ...

    def send_offsets_to_transaction(self, *_: object) -> None:
        self._answer("send_offsets")

    def commit_transaction(self, _: float) -> None:
        self._answer("commit")

    def abort_transaction(self, _: float) -> None:
        self.is_aborted = True
        self._answer("abort")

    def _answer(self, call: str) -> None:
        if call in self.errors:
            raise self.errors[call]


class Hanging(Scripted):
    """Waits for a group coordinator without an end (librdkafka#5456)."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs = threading.Event()

    def send_offsets_to_transaction(self, *_: object) -> None:
        self.hangs.wait()


class Rig:
    """A delivery, what it pumped and whose partitions are whose."""

    def __init__(self, servers: str) -> None:
        self.source = Member()
        self.pumped: list[str] = []
        self.owns: Callable[[Owned], bool] = lambda _: True
        nobody: Any = None
        self.delivery = ExactlyOnce(
            Settings(kafka=KafkaSettings(bootstrap_servers=servers), images=ImageSettings(allowed_buckets=("parts",))),
            TOPICS,
            self.source,  # type: ignore[arg-type]
            slot="a",
            owns=lambda one: self.owns(one),  # noqa: PLW0108  # a test changes it
            pump=self.pumped.append,
            exchange=nobody,
        )

    def has(self, producer: Any) -> None:
        self.delivery._producer = producer
        producer.told = self.delivery._doubt.on_statistics
        producer.told('{"brokers": {}}')

    def delivers(self) -> Delivered:
        """One try to commit the position of partition 0 again."""
        return self.delivery.deliver([], notes=[HERE])


@pytest.fixture
def rig() -> Rig:
    """Without a broker."""
    return Rig("127.0.0.1:1")


@pytest.fixture
def connected(cluster: str) -> Rig:
    rig = Rig(cluster)
    rig.delivery.open()
    return rig


class Call:
    """A bounded call that fails so many times."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.bounds: list[float] = []

    def __call__(self, bound: float) -> None:
        self.bounds.append(bound)
        if len(self.bounds) > 100_000:
            pytest.fail("the call is repeated for ever")
        if len(self.bounds) <= self.failures:
            raise TIMED_OUT


# --- one call -------------------------------------------------------------------------------------------------------


def test_no_call_may_block_for_over_two_seconds_and_between_repeats_the_membership_is_kept(rig: Rig) -> None:
    call = Call(failures=3)
    rig.delivery._repeat(call)

    assert len(call.bounds) == 4
    assert max(call.bounds) <= 2
    assert len(rig.pumped) == 3


def test_a_call_that_is_never_answered_is_given_up_so_that_the_producer_can_be_replaced(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stalled coordinator once left every replica repeating a call whose answer was lost."""
    monkeypatch.setattr(exactly_once, "LONGEST_CALL", 0.05)
    call = Call(failures=1_000_000)
    with pytest.raises(KafkaException):
        rig.delivery._repeat(call)

    assert len(call.bounds) > 1
    assert len(rig.pumped) == len(call.bounds) - 1


def test_inside_a_callback_a_call_has_the_time_that_is_left_and_nothing_is_pumped(rig: Rig) -> None:
    rig.delivery._patience = time.monotonic() + 0.5
    call = Call(failures=3)
    rig.delivery._repeat(call)
    assert max(call.bounds) <= 0.5
    assert rig.pumped == []

    rig.delivery._patience = time.monotonic()
    with pytest.raises(OutOfTime):
        rig.delivery._repeat(call)


def test_a_call_is_not_repeated_for_what_is_not_ours_any_more(rig: Rig) -> None:
    rig.owns = lambda _: False
    call = Call(failures=5)
    with pytest.raises(NotOurs):
        rig.delivery._repeat(call, [HERE])

    assert len(call.bounds) == 1


def test_a_call_that_was_repeated_puts_its_producer_in_doubt(rig: Rig) -> None:
    rig.has(Scripted())
    rig.delivery._repeat(Call())
    assert not rig.delivery._is_doubtful()

    rig.delivery._repeat(Call(failures=1))
    assert rig.delivery._is_doubtful()


@pytest.mark.parametrize("deaf", ["on_error", "on_statistics"])
def test_a_connection_that_broke_puts_its_producer_in_doubt_whichever_callback_tells(
    monkeypatch: pytest.MonkeyPatch, deaf: str
) -> None:
    monkeypatch.setattr(Doubt, deaf, lambda *_: None)
    if deaf == "on_statistics":  # nor are they waited for
        monkeypatch.setattr(Doubt, "on_start", lambda _: None)
    owner = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = owner.list_topics(timeout=10).brokers.values()
    rig = Rig(f"{broker.host}:{broker.port}")
    rig.delivery.open()
    if deaf == "on_error":  # its first statistics are what later ones are held against
        assert not rig.delivery._is_doubtful()
    del owner

    wait_until(rig.delivery._is_doubtful, within=10, what="it is told")
    rig.delivery.close()


# --- one transaction ------------------------------------------------------------------------------------------------


def test_what_was_committed_is_told_and_settled(rig: Rig) -> None:
    rig.has(Scripted())

    assert rig.delivers() == Delivered({0: 6}, (HERE,))
    assert rig.delivery._unsettled == set()


def test_a_commit_without_an_answer_is_never_aborted_and_asked_for_before_the_next_begin(
    connected: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exactly_once, "LONGEST_CALL", 0.0)
    producer: Any = Scripted(commit=TIMED_OUT)
    connected.has(producer)
    assert connected.delivers() == NOTHING
    assert not producer.is_aborted

    connected.source.offsets = {0: 6}
    assert connected.delivers() == Delivered({0: 6})
    assert connected.delivery._live is not producer
    connected.delivery.close()


def test_a_producer_whose_abort_fails_is_replaced_before_anything_is_asked(
    connected: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exactly_once, "LONGEST_CALL", 0.0)
    abortable = KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION, "", False, False, True))
    producer: Any = Scripted(commit=abortable, abort=TIMED_OUT)
    connected.has(producer)
    assert connected.delivers() == NOTHING

    connected.source.offsets = {0: 6}
    assert connected.delivers() == Delivered({0: 6})
    assert connected.delivery._live is not producer
    connected.delivery.close()


def test_what_went_away_in_doubt_is_not_asked_for(rig: Rig) -> None:
    rig.has(Scripted())
    rig.delivery._unsettled = {0, 5}
    rig.source.offsets = {0: 3, 5: 9}
    assert rig.delivers() == Delivered({0: 3})
    assert rig.delivers() == Delivered({0: 6}, (HERE,))


def test_while_the_group_does_not_say_what_was_committed_nothing_is_begun(rig: Rig) -> None:
    rig.has(Scripted())
    rig.delivery._unsettled = {0, 1}
    rig.source.offsets = {1: 3}
    assert rig.delivers() == Delivered({1: 3})
    assert rig.delivers() == NOTHING
    rig.source.offsets = {0: None}
    assert rig.delivers() == NOTHING  # now it is known that there is none
    assert rig.delivers() == Delivered({0: 6}, (HERE,))


@pytest.mark.parametrize("ends", ["commit", "abort"])
def test_a_connection_lost_under_the_end_of_a_transaction_is_known_of_before_the_next_begin(
    rig: Rig, ends: str
) -> None:
    """librdkafka sends the request again in a tenth of a second, and only its statistics tell."""
    asks_for_abort = KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION, "", False, False, True))
    producer = Scripted(statistics='{"brokers": {"1": {"disconnects": 1}}}')
    producer.errors = {"commit": asks_for_abort} if ends == "abort" else {}
    rig.has(producer)
    rig.delivers()
    assert rig.delivery._is_doubtful()
    assert rig.delivery._stale == "requests or connections were lost: 1"


def test_who_is_no_member_just_now_commits_nothing(rig: Rig) -> None:
    producer = Scripted()
    rig.has(producer)
    rig.source.metadata = None
    assert rig.delivers() == NOTHING
    assert producer.is_aborted


def test_a_producer_that_tells_nothing_begins_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exactly_once, "STATISTICS_WITHIN", 0.05)
    rig.has(Scripted(statistics=None))
    assert not rig.delivery._is_doubtful()
    rig.delivers()
    assert rig.delivery._is_doubtful()


def test_a_call_that_never_comes_back_ends_the_delivery(connected: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exactly_once, "CALL_TIMEOUT", 0.05)
    monkeypatch.setattr(bounded, "GRACE", 0.05)
    producer = Hanging()
    connected.has(producer)
    assert connected.delivers() == NOTHING
    producer.hangs.set()
    assert connected.delivery._stale == "send-offsets does not come back"
    connected.delivery.close()


def test_callbacks_of_a_producer_that_was_left_behind_are_served_until_its_call_comes_back(
    connected: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exactly_once, "CALL_TIMEOUT", 0.05)
    monkeypatch.setattr(bounded, "GRACE", 0.05)
    producer = Hanging()
    connected.has(producer)
    connected.delivers()
    ((answer, _),) = connected.delivery._left_behind
    connected.delivery.close()
    polled = producer.polled
    connected.delivery.tend()
    assert producer.polled == polled + 1

    producer.hangs.set()
    wait_until(answer.done, within=5, what="the call comes back")
    connected.delivery.tend()
    assert not connected.delivery._left_behind


def test_doubt_of_a_producer_begins_with_its_first_transaction(connected: Rig) -> None:
    """What is retried while the id is registered would replace producer after producer."""
    for _ in range(2):
        doubt = connected.delivery._doubt
        assert not doubt.is_up_to_date
        doubt.on_statistics('{"brokers": {"1": {"disconnects": 3}}}')
        assert doubt.reason is None  # asked of the delivery, the producer's own statistics could come between
        connected.delivery._stale = "in doubt"
        connected.delivers()
        assert connected.delivery._doubt is not doubt


def test_a_fatal_error_of_a_producer_is_no_matter_of_the_tending(rig: Rig) -> None:
    class Dead(Scripted):
        def poll(self, timeout: float) -> None:
            raise KafkaException(KafkaError(KafkaError._FATAL))

    rig.has(Dead())
    rig.delivery.tend()


@pytest.mark.parametrize("call", ["send_offsets", "commit"])
def test_what_asks_for_an_abort_gets_one_and_the_next_try_needs_no_other_producer(rig: Rig, call: str) -> None:
    error = KafkaError(KafkaError.ILLEGAL_GENERATION, "", False, False, True)
    producer = Scripted()
    producer.errors = {call: KafkaException(error)}
    rig.has(producer)
    assert rig.delivers() == NOTHING
    assert producer.is_aborted
    assert rig.pumped == []

    producer.errors = {}
    assert rig.delivers() == Delivered({0: 6}, (HERE,))


def test_what_is_not_ours_is_aborted(rig: Rig) -> None:
    producer = Scripted()
    rig.has(producer)
    rig.owns = lambda _: False

    assert rig.delivers() == NOTHING
    assert producer.is_aborted


def test_a_record_that_was_refused_costs_its_producer_which_is_out_of_sequence(rig: Rig) -> None:
    ledger: Ledger[int, Message] = Ledger(lambda: 0.0)
    ledger.assign(0)
    heads = [ledger.open(0, offset, 1) for offset in (3, 4)]
    rig.has(Scripted())
    outlet = Outlet(TOPICS)
    outlet._report(heads[0], 0, KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), None)
    rig.delivery._note_refusals(heads, outlet)

    assert rig.delivery._is_doubtful()


def test_after_a_right_was_withdrawn_the_next_try_waits_and_readiness_says_why(rig: Rig) -> None:
    """Else the log would be flooded by try after try."""
    producer = Scripted(send_offsets=WITHDRAWN)
    rig.has(producer)
    assert rig.delivers() == NOTHING
    (why,) = rig.pumped
    assert why.startswith("a right is missing on ")

    producer.errors = {}
    assert rig.delivers() == NOTHING
    rig.delivery._not_before = 0.0
    assert rig.delivers() == Delivered({0: 6}, (HERE,))


def test_inside_a_callback_a_withdrawn_right_pumps_nothing(rig: Rig) -> None:
    rig.has(Scripted(send_offsets=WITHDRAWN))
    assert rig.delivery.deliver([], notes=[HERE], within=1.0) == NOTHING
    assert rig.pumped == []


def test_while_heads_are_tried_one_by_one_no_note_goes_with_them(rig: Rig) -> None:
    """It stands behind all of them: with one of them alone it would skip the others."""
    ledger: Ledger[int, Message] = Ledger(lambda: 0.0)
    for partition in (0, 1):
        ledger.assign(partition)
    heads = [ledger.open(partition, offset, 0) for partition, offset in ((0, 3), (1, 7))]
    note = Position(partition=1, epoch=1, offset=8)
    rig.has(Scripted())
    rig.delivery._isolation._suspects = {0: 3}

    assert rig.delivery.deliver(heads, notes=[note]) == Delivered({0: 4})
    assert rig.delivery.deliver(heads[1:], notes=[note]) == Delivered({1: 8}, (note,))


# --- one producer after the other -----------------------------------------------------------------------------------


@pytest.mark.thorough
def test_producers_that_help_nobody_come_ever_later_and_not_for_ever(connected: Rig) -> None:
    first = connected.delivery._live
    connected.delivery._stale = "in doubt"
    connected.delivers()
    second = connected.delivery._live
    assert second is not first

    connected.delivery._stale = "in doubt again"
    connected.delivery._replacements = MOST_REPLACEMENTS - 1
    connected.delivers()
    third = connected.delivery._live
    assert third is not second

    connected.delivery._stale = "in doubt again"
    connected.delivers()
    assert connected.delivery._live is third  # not yet
    connected.delivery._not_before = 0.0
    with pytest.raises(Fatal, match=f"{MOST_REPLACEMENTS} producers in a row could not deliver: in doubt again"):
        connected.delivers()
    connected.delivery.close()


def test_a_dead_owners_transaction_holds_its_partitions_for_twelve_seconds_at_most(rig: Rig) -> None:
    assert rig.delivery._properties["transaction.timeout.ms"] <= 12_000
    assert rig.delivery._properties["message.timeout.ms"] <= rig.delivery._properties["transaction.timeout.ms"]
