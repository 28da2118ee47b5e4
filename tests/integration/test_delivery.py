"""Does a delivery keep its promises at the moments that break them, on a real broker?

Members run in the test's own thread, turn by turn, so that every interleaving here is made, not hoped for.
"""

import contextlib
import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourceType,
)
from msgspec import Raw

from consumer.errors import CheckFailed, Fatal, Fenced, SettingsError, Unavailable
from consumer.inspector import Claim
from consumer.kafka.generation import generation_of
from consumer.kafka.group import GroupReader
from consumer.kafka.topics import read_topics
from consumer.messages import Job, Outcome, Record, encode_dead_letter, encode_result
from consumer.runner import Stopped
from tests.conftest import CreateTopics
from tests.rigs.deadline import wait_until
from tests.rigs.deliveries import JOB, assert_delivered_once, done, has_delivered, holding, seen_by_reader
from tests.rigs.kafka import KafkaCluster
from tests.rigs.kafka_jars import missing_tool
from tests.rigs.member import Member, settings_of, topics_of, turns
from tests.rigs.outcomes import OutcomeReader, Source, judge
from tests.rigs.topics import Topics
from tests.unit.samples import a_letter, a_record, a_result

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]

SLOW_CONSUMER = pytest.param("consumer", marks=pytest.mark.slow)
PROTOCOLS = pytest.mark.parametrize("protocol", ["classic", "consumer"])
SLOW_PROTOCOLS = pytest.mark.parametrize("protocol", ["classic", SLOW_CONSUMER])
SLOW_AT_LEAST_ONCE = pytest.param("at_least_once", marks=pytest.mark.slow)
MODES = pytest.mark.parametrize("mode", ["exactly_once", SLOW_AT_LEAST_ONCE])


def set_limit(topics: Topics, topic: str, limit: int) -> None:
    """Lower `max.message.bytes` while consumers run that have read the old one."""
    entry = ConfigEntry("max.message.bytes", str(limit), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": topics.bootstrap_servers})
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(10)


def delete_below(topics: Topics, offsets: dict[int, int]) -> None:
    admin = AdminClient({"bootstrap.servers": topics.bootstrap_servers})
    positions = [TopicPartition(topics.jobs, partition, offset) for partition, offset in offsets.items()]
    for future in admin.delete_records(positions).values():
        future.result(10)


def generation(member: Member) -> int:
    return generation_of(bytes(member.source.consumer.consumer_group_metadata()))


def joins(other: Member, *, before: Member) -> Callable[[], None]:
    """The other member joins, and the group moves on, while the first one stands in a delivery."""
    old = generation(before)

    def has_moved() -> bool:
        other.turn()
        return generation(before) != old

    return lambda: wait_until(has_moved, within=20, what="the group has a new generation")


# --- one transaction ------------------------------------------------------------------------------------------------


def test_outcomes_and_offsets_become_visible_together(topics: CreateTopics) -> None:
    made = topics(partitions=2)
    sources = made.publish([JOB] * 6)
    with Member(made) as member, OutcomeReader(made.bootstrap_servers, made.outcomes) as reader:
        member.is_delivering_by_itself = False
        turns(member, until=holding(member, 6))
        before = member.committed()
        looked: list[bool] = []

        def look() -> None:
            wait_until(lambda: member.end(0) == member.end(1) == 3, within=10, what="the outcomes lie there")
            assert reader.read_to_end() == []
            assert member.stable() == {}  # unstable: neither the old ones nor the new ones are true
            looked.append(True)

        member.hooks.before_commit = look
        member.deliver()
        assert looked
        assert before == {0: 0, 1: 0}
        assert member.committed() == {0: 3, 1: 3}
    assert_delivered_once(made, sources)


def test_an_aborted_delivery_shows_neither_outcomes_nor_offsets(topics: CreateTopics) -> None:
    made = topics(partitions=1)
    made.publish([JOB] * 3)
    with Member(made) as member:
        member.is_delivering_by_itself = False
        turns(member, until=holding(member, 3))

        def lose() -> None:
            wait_until(lambda: member.end() == 3, within=10, what="the outcomes lie there")
            member.runner.lost([0])

        member.hooks.before_offsets = lose
        member.deliver()
        assert member.committed() == {0: 0}
    assert seen_by_reader(made, 0) == []


def add_partitions(topics: Topics, topic: str, count: int) -> None:
    """Until there are so many."""
    admin = AdminClient({"bootstrap.servers": topics.bootstrap_servers})
    for future in admin.create_partitions([NewPartitions(topic, count)]).values():
        future.result(10)

    def known() -> int:
        return len(admin.list_topics(topic, timeout=10).topics[topic].partitions)

    wait_until(lambda: known() == count, within=10, what="the partitions are there")


def test_outcomes_of_more_partitions_than_the_output_has_go_round_and_stay_there_while_partitions_are_added(
    topics: CreateTopics,
) -> None:
    made = topics(partitions=2)
    add_partitions(made, made.jobs, 5)
    wide = replace(made, partitions=5)
    with Member(made) as member:
        sources = wide.publish([JOB] * 20)
        turns(member, until=has_delivered(made, member, sources))
        add_partitions(made, made.results, 3)
        member.delivery._live.list_topics(made.results, timeout=10)  # the producer knows of them
        sources += wide.publish([JOB] * 20)
        turns(member, until=has_delivered(made, member, sources))
    seen = assert_delivered_once(made, sources)
    assert {(outcome.source.partition, outcome.partition) for outcome in seen} == {
        (0, 0), (1, 1), (2, 0), (3, 1), (4, 0),
    }  # fmt: skip


def test_a_record_of_several_jobs_is_delivered_whole_and_in_their_order(topics: CreateTopics) -> None:
    made = topics(partitions=1)
    with Member(made) as member:
        turns(member, until=lambda: member.placed == {0})
        head = member.runner._ledger.open(0, 7, 3)
        record = made_record(made, 7)
        for index in (2, 0, 1):
            message = encode_dead_letter(a_letter(record, index=1)) if index == 1 else encode_result(a_result(record))
            head.finish(index, message)
        member.deliver()
        assert member.committed() == {0: 8}
    seen = seen_by_reader(made, 3)
    assert sorted((outcome.topic, outcome.offset, outcome.source.index) for outcome in seen) == sorted(
        [(made.results, 0, 0), (made.results, 1, 0), (made.dead_letters, 0, 1)]
    )


def made_record(topics: Topics, offset: int) -> Record:
    return a_record(JOB, topic=topics.jobs, partition=0, offset=offset)


# --- rebalances -----------------------------------------------------------------------------------------------------


def test_finished_heads_survive_an_abort_and_are_delivered_once(topics: CreateTopics) -> None:
    """ILLEGAL_GENERATION: the group has moved on between the reading of the metadata and its use."""
    made = topics(partitions=4)
    sources = made.publish([JOB] * 12)
    with Member(made) as member:
        member.is_delivering_by_itself = False
        turns(member, until=holding(member, 12))
        with Member(made, slot="b") as other:
            member.hooks.with_metadata = joins(other, before=member)
            heads = member.heads
            member.deliver()
            assert member.committed() == dict.fromkeys(range(4), 0)
            assert [head for head in heads if member.runner.owns(head)] == member.heads  # still there
            assert len(member.heads) == 12
            member.is_delivering_by_itself = True
            turns(member, other, until=has_delivered(made, member, sources))
    assert_delivered_once(made, sources)


@PROTOCOLS
def test_nothing_of_a_partition_is_delivered_after_its_revocation(topics: CreateTopics, protocol: str) -> None:
    """The broker would take it: with fresh metadata it does not look whose partition it is."""
    made = topics(partitions=4)
    sources = made.publish([JOB] * 12)
    kafka = {"group_protocol": protocol}
    with Member(made, kafka=kafka) as member:
        member.is_delivering_by_itself = False
        turns(member, until=holding(member, 12))
        with Member(made, slot="b", kafka=kafka) as other:
            other.is_delivering_by_itself = False

            def hand_over() -> None:
                def has_some() -> bool:
                    member.runner.pump("a call is repeated")
                    other.turn()
                    return len(other.placed) == 2 and len(member.owned) == 2

                wait_until(has_some, within=30, what="the other member has two partitions")

            member.hooks.before_offsets = hand_over
            member.deliver()
            assert {head.partition for head in member.heads} == member.owned
            assert all((member.committed()[partition] or 0) == 0 for partition in range(4))
            assert member.delivery._stale is None  # the callback began nothing of its own inside of the delivery
            other.is_delivering_by_itself = member.is_delivering_by_itself = True
            turns(member, other, until=has_delivered(made, member, sources))
    assert_delivered_once(made, sources)


def test_finished_heads_are_delivered_when_their_partition_is_revoked(topics: CreateTopics) -> None:
    made = topics(partitions=4)
    sources = made.publish([JOB] * 12)
    inspected: list[Job] = []

    def inspect(job: Job, _: Claim) -> Outcome:
        inspected.append(job)
        return a_result(job.record)

    with Member(made, inspect=inspect) as member:
        member.is_delivering_by_itself = False
        turns(member, until=holding(member, 12))
        with Member(made, slot="b", inspect=inspect) as other:
            turns(member, other, until=lambda: len(other.placed) == 2)
            assert {partition: member.committed()[partition] for partition in other.owned} == dict.fromkeys(
                other.owned, 3
            )
            member.is_delivering_by_itself = True
            turns(member, other, until=has_delivered(made, member, sources))
    assert_delivered_once(made, sources)
    assert len(inspected) == 12  # none was done twice


@SLOW_PROTOCOLS
def test_nothing_of_a_lost_partition_is_delivered(topics: CreateTopics, protocol: str) -> None:
    """A member that stood still is put out of the group; awake again, it holds finished work that is not its own."""
    made = topics(partitions=2)
    sources = made.publish([JOB] * 8)
    timing = {"max.poll.interval.ms": 6000, "session.timeout.ms": 6000}
    kafka = {"group_protocol": protocol, "extra": timing if protocol == "classic" else {"max.poll.interval.ms": 6000}}
    with Member(made, kafka=kafka) as member:
        member.is_delivering_by_itself = False
        turns(member, until=holding(member, 8))
        stale = member.heads
        group = GroupReader(member.settings)
        # Before the other joins, else the rebalance that it brings may revoke one partition where the other is lost.
        wait_until(lambda: group.read(timeout=10).members == 0, within=40, what="it is put out of the group")
        with Member(made, slot="b", kafka=kafka) as other:
            turns(other, until=lambda: other.placed == {0, 1}, within=40)
            turns(other, until=has_delivered(made, other, sources))
            assert member.heads == stale  # nobody has told it yet
            member.deliver()
            assert member.heads == stale
            turns(member, until=lambda: member.heads == [])
            assert member.metrics.rebalances.labels("lost")._value.get() == 2
    assert_delivered_once(made, sources)


def test_a_member_without_a_generation_delivers_nothing(topics: CreateTopics) -> None:
    """The broker takes offsets of generation -1 from anybody."""
    made = topics(partitions=1)
    made.publish([JOB] * 3)
    nobody = Consumer({"bootstrap.servers": made.bootstrap_servers, "group.id": made.group})
    with Member(made) as member:
        member.is_delivering_by_itself = False
        turns(member, until=holding(member, 3))
        member.source.group_metadata = nobody.consumer_group_metadata  # type: ignore[method-assign]
        member.deliver()
        assert member.committed() == {0: 0}
        assert len(member.heads) == 3
        member.runner._may_hand_over = False
    nobody.close()
    assert seen_by_reader(made, 0) == []


def test_a_late_answer_of_a_dropped_attempt_does_not_finish_the_new_one(topics: CreateTopics) -> None:
    made = topics(partitions=1)
    sources = made.publish([JOB])
    attempts: list[threading.Event] = []
    answered: list[int] = []

    def inspect(job: Job, _: Claim) -> Outcome:
        attempts.append(threading.Event())
        number = len(attempts)
        attempts[-1].wait(60)
        answered.append(number)
        return a_result(job.record, detections=number)

    with Member(made, inspect=inspect) as member:
        turns(member, until=lambda: len(attempts) == 1)
        member.runner.lost([0])
        member.runner.assigned([0])
        member.runner.placed(0, 0, "")
        member.runner._take_in([made_record(made, 0)])  # the same offset, read again
        turns(member, until=lambda: len(attempts) == 2)
        attempts[0].set()
        turns(member, until=lambda: answered == [1])
        member.turn()
        assert member.committed() == {0: 0}
        attempts[1].set()
        turns(member, until=has_delivered(made, member, sources))
    (seen,) = assert_delivered_once(made, sources)
    assert (seen.value or b"").count(b"scratch") == 2


@SLOW_PROTOCOLS
def test_a_member_that_leaves_hands_over_long_before_its_session_ends(topics: CreateTopics, protocol: str) -> None:
    made = topics(partitions=2)
    kafka = {"group_protocol": protocol}
    with Member(made, slot="b", kafka=kafka) as other, Member(made, kafka=kafka) as member:
        turns(member, other, until=lambda: len(member.placed) == len(other.placed) == 1)
        sources = made.publish([JOB] * 6)
        turns(member, other, until=has_delivered(made, member, sources))
        member.leave()
        turns(other, until=lambda: other.placed == {0, 1}, within=5)  # a session lasts 20 s
        sources += made.publish([JOB] * 2)
        turns(other, until=has_delivered(made, other, sources))
    assert_delivered_once(made, sources)


@pytest.mark.slow
def test_a_paused_partition_stays_so_over_a_rebalance_and_flows_again_after_it(topics: CreateTopics) -> None:
    made = topics(partitions=2)
    sources = made.publish([JOB] * 200)
    may_finish = threading.Event()

    def inspect(job: Job, _: Claim) -> Outcome:
        may_finish.wait(60)
        return a_result(job.record)

    limits = {"max_in_flight": 16}
    with Member(made, inspect=inspect, limits=limits) as member:
        turns(member, until=lambda: member.source._paused == {0, 1})
        with Member(made, slot="b", inspect=inspect, limits=limits) as other:
            turns(member, other, until=lambda: len(member.placed) == len(other.placed) == 1)
            (kept,) = member.owned
            position = member.source.position(kept)
            turns(other, until=lambda: other.source._paused == other.owned)
            for _ in range(10):
                member.turn()
            assert member.source.position(kept) == position
            may_finish.set()
            turns(member, other, until=has_delivered(made, member, sources), within=40)
    assert_delivered_once(made, sources)


# --- fences and doubt -----------------------------------------------------------------------------------------------


def intrude(member: Member) -> None:
    """Another process takes the transactional id."""
    servers = member.settings.kafka.bootstrap_servers
    other = Producer({"bootstrap.servers": servers, "transactional.id": member.delivery.transactional_id})
    other.init_transactions(10)


def test_another_process_with_the_slot_ends_this_one_and_is_named(topics: CreateTopics) -> None:
    made = topics(partitions=1)
    made.publish([JOB] * 2)
    with Member(made, slot="line-3") as member:
        member.is_delivering_by_itself = False
        turns(member, until=holding(member, 2))
        intrude(member)
        with pytest.raises(Fenced, match=rf"inspection\.{made.group}\.line-3 .*delivery\.slot"):
            member.deliver()
        member.runner._may_hand_over = False
    assert seen_by_reader(made, 0) == []


def test_a_fence_that_is_met_on_leaving_is_not_kept_quiet(topics: CreateTopics) -> None:
    made = topics(partitions=1)
    made.publish([JOB] * 2)
    with Member(made) as member:
        member.is_delivering_by_itself = False
        turns(member, until=holding(member, 2))
        intrude(member)
        with pytest.raises(Fenced):
            member.leave()


def test_a_transaction_that_may_have_timed_out_is_survived_once_a_minute(topics: CreateTopics) -> None:
    """librdkafka reports the coordinator's time-out as a fence too."""
    made = topics(partitions=1)
    sources = made.publish([JOB] * 2)
    short = {"transaction.timeout.ms": 1000, "message.timeout.ms": 1000, "socket.timeout.ms": 1000}
    with Member(made, kafka={"extra": short}) as member:

        def grow_old() -> None:
            intrude(member)
            wait_until(lambda: time.monotonic() - member.delivery._begun_at > 0.6, within=5, what="it is old")

        member.is_delivering_by_itself = False
        turns(member, until=holding(member, 2))
        member.hooks.before_commit = grow_old
        member.deliver()
        member.is_delivering_by_itself = True
        turns(member, until=has_delivered(made, member, sources))
        made.publish([JOB])
        member.hooks.before_commit = grow_old
        with pytest.raises(Fenced):
            turns(member, until=lambda: False, within=10)
        member.runner._may_hand_over = False
    assert_delivered_once(made, sources)


def test_a_member_that_has_nothing_to_deliver_serves_its_producer_else_its_statistics_pile_up(
    topics: CreateTopics,
) -> None:
    with Member(topics(partitions=1)) as member:
        member.delivery._doubt.on_end()
        turns(member, until=lambda: member.delivery._doubt.is_up_to_date, what="its statistics were heard")


def test_doubt_that_is_learned_late_replaces_the_producer_before_the_next_begin(topics: CreateTopics) -> None:
    """Statistics come once a second, a transaction takes milliseconds."""
    made = topics(partitions=1)
    sources = made.publish([JOB])
    with Member(made) as member:
        turns(member, until=has_delivered(made, member, sources))
        turns(member, until=done(member))
        first = member.delivery._live
        sources += made.publish([JOB])
        turns(member, until=has_delivered(made, member, sources))
        assert member.delivery._live is first
        turns(member, until=done(member))
        member.delivery._doubt.on_statistics('{"brokers": {"1": {"disconnects": 1}}}')
        sources += made.publish([JOB])
        turns(member, until=has_delivered(made, member, sources))
        assert member.delivery._live is not first
    assert_delivered_once(made, sources)


def test_nothing_is_reconciled_before_the_old_producer_is_known_to_be_fenced(topics: CreateTopics) -> None:
    """Until then its transaction may still be committed, and what was asked before would be wrong."""
    made = topics(partitions=1)
    sources = made.publish([JOB])
    with Member(made) as member:
        turns(member, until=has_delivered(made, member, sources))
        turns(member, until=done(member))
        right = dict(member.delivery._properties)
        member.delivery._properties["transaction.timeout.ms"] = 10**9  # the broker refuses it
        member.delivery._stale, member.delivery._unsettled = "in doubt", {0}
        assert member.delivery.deliver([]).offsets == {}
        assert member.delivery._unsettled == {0}
        member.delivery._properties = right
        assert member.delivery.deliver([]).offsets == {0: 1}
    assert_delivered_once(made, sources)


def test_a_rebalance_callback_asks_nothing_and_delivers_nothing_while_the_last_delivery_is_in_doubt(
    topics: CreateTopics,
) -> None:
    made = topics(partitions=1)
    sources = made.publish([JOB] * 3)
    with Member(made) as member:
        member.is_delivering_by_itself = False
        turns(member, until=holding(member, 3))
        member.delivery._stale, member.delivery._unsettled = "in doubt", {0}
        producer = member.delivery._live
        member.runner.revoked([0])
        assert member.heads == []
        assert member.delivery._live is producer
        assert member.delivery._unsettled == {0}
    with Member(made, slot="b") as other:
        turns(other, until=has_delivered(made, other, sources))
    assert_delivered_once(made, sources)


# --- a broker that hangs --------------------------------------------------------------------------------------------


class PatientCluster(KafkaCluster):
    """Its node is not put out of the cluster for standing still, and goes on at once afterwards."""

    def _format(self) -> None:
        super()._format()
        with self._properties(0).open("a") as properties:
            properties.write("broker.session.timeout.ms=60000\n")


@pytest.fixture(scope="module")
def own_broker() -> Iterator[KafkaCluster]:
    """One that may be stopped for a while."""
    if reason := missing_tool():
        pytest.skip(f"no Kafka that may be stopped: {reason}")
    with PatientCluster() as cluster:
        yield cluster


def freeze(cluster: KafkaCluster, seconds: float) -> None:
    cluster.pause_node(0)
    threading.Timer(seconds, cluster.resume_node, [0]).start()


@pytest.mark.parametrize(("moment", "seconds", "timeout"), [
    pytest.param("before_commit", 2.5, 12_000, marks=pytest.mark.slow),
    ("before_commit", 3.5, 2000),
    pytest.param("before_offsets", 2.5, 12_000, marks=pytest.mark.slow),
])  # fmt: skip
def test_a_delivery_in_doubt_is_settled_by_another_producer_and_seen_once(
    own_broker: KafkaCluster, topics: CreateTopics, moment: str, seconds: float, timeout: int
) -> None:
    """The broker answers later than the call waits; the second time later than the transaction may last."""
    made = topics(partitions=2, kafka=own_broker)
    sources = made.publish([JOB] * 6)
    limits = {f"{name}.timeout.ms": timeout for name in ("transaction", "message")} | {"socket.timeout.ms": 1000}
    with Member(made, kafka={"extra": limits}) as member:
        member.is_delivering_by_itself = False
        turns(member, until=holding(member, 6))
        first = member.delivery._live
        reasons: list[str] = []
        pump = member.delivery._pump

        def note(reason: str) -> None:
            reasons.append(reason)
            pump(reason)
            assert member.health.liveness == {"loop": "ok"}
            assert member.health.readiness["delivery"] == reason

        member.delivery._pump = note
        setattr(member.hooks, moment, lambda: freeze(own_broker, seconds))
        member.is_delivering_by_itself = True
        turns(member, until=has_delivered(made, member, sources), within=40)
        turns(member, until=done(member))
        assert reasons
        sources += made.publish([JOB] * 2)
        turns(member, until=has_delivered(made, member, sources), within=40)
        assert member.delivery._live is not first
        assert member.health.readiness["delivery"] == "ok"
    assert_delivered_once(made, sources)


@MODES
def test_a_stop_is_heard_while_the_broker_hangs(own_broker: KafkaCluster, topics: CreateTopics, mode: str) -> None:
    made = topics(partitions=1, kafka=own_broker)
    sources = made.publish([JOB])

    def inspect(job: Job, _: Claim) -> Outcome:
        own_broker.pause_node(0)
        return a_result(job.record)

    kafka = {"extra": {"socket.timeout.ms": 1000, "session.timeout.ms": 6000}}  # its leaving is not heard
    member = Member(made, inspect=inspect, kafka=kafka, delivery={"mode": mode, "interval": 0, "drain_timeout": 1})
    answers: list[Stopped] = []
    loop = threading.Thread(target=lambda: answers.append(member.run()), name="loop")
    loop.start()
    try:
        wait_until(lambda: member.health.readiness["delivery"] != "ok", within=30, what="readiness is red")
        assert member.health.liveness == {"loop": "ok"}
        member.stopping.set()
        loop.join(20)
        assert answers == [Stopped.ASKED]
    finally:
        own_broker.resume_node(0)
    with Member(made, slot="b") as other:
        turns(other, until=has_delivered(made, other, sources), within=40)
    if mode == "exactly_once":
        assert_delivered_once(made, sources)


# --- records that the broker refuses --------------------------------------------------------------------------------


def noise(size: int) -> bytes:
    """Text that compression makes hardly smaller: the broker measures batches as they come."""
    return secrets.token_hex(size // 2).encode()


def large_at(offset: int, size: int, *, others: int = 10) -> Callable[[Job, Claim], Outcome]:
    def inspect(job: Job, _: Claim) -> Outcome:
        size_here = size if job.record.offset == offset else others
        return a_result(job.record, metadata=Raw(b'"%b"' % noise(size_here)))

    return inspect


@MODES
def test_a_refused_result_becomes_a_dead_letter_and_its_neighbours_are_delivered(
    topics: CreateTopics, mode: str
) -> None:
    made = topics(partitions=2)
    with Member(made, inspect=large_at(3, 30_000), delivery={"mode": mode, "interval": 0}) as member:
        set_limit(made, made.results, 6000)
        member.is_delivering_by_itself = False
        sources = made.publish([JOB] * 16)
        turns(member, until=holding(member, 16))
        member.is_delivering_by_itself = True
        turns(member, until=has_delivered(made, member, sources), within=40)
    seen = seen_by_reader(made, 16)
    assert {outcome.source for outcome in seen} == set(sources)
    assert not judge(sources, seen).out_of_order
    reasons = {outcome.source.offset: outcome.reason for outcome in seen if outcome.reason}
    assert reasons == {3: "result_too_large"}
    if mode == "exactly_once":
        assert len(seen) == 16


def test_a_refused_dead_letter_goes_without_its_value(topics: CreateTopics) -> None:
    made = topics(partitions=1)
    with Member(made) as member:
        set_limit(made, made.dead_letters, 6000)
        member.is_delivering_by_itself = False
        broken = b"{" + noise(20_000)
        sources = made.publish([JOB, broken, JOB])
        turns(member, until=holding(member, 3))
        member.is_delivering_by_itself = True
        turns(member, until=has_delivered(made, member, sources), within=40)
    (letter,) = [outcome for outcome in assert_delivered_once(made, sources) if outcome.reason]
    assert (letter.source.offset, letter.reason) == (1, "schema_invalid")
    assert letter.value is None
    assert letter.header("inspection-original-omitted") == "true"
    assert letter.header("inspection-original-bytes") == str(len(broken))
    assert letter.header("inspection-original-sha256") == hashlib.sha256(broken).hexdigest()


def test_in_a_record_of_several_jobs_only_the_refused_outcome_is_changed(topics: CreateTopics) -> None:
    made = topics(partitions=1)
    with Member(made) as member:
        turns(member, until=lambda: member.placed == {0})
        set_limit(made, made.results, 3000)
        record = replace(made_record(made, 7), value=noise(20_000))
        result = encode_result(a_result(made_record(made, 7), metadata=Raw(b'"%b"' % noise(10_000))))
        letter = encode_dead_letter(a_letter(record, index=1))
        assert letter.size > result.size
        head = member.runner._ledger.open(0, 7, 2)
        head.finish(0, result)
        head.finish(1, letter)
        turns(member, until=lambda: member.committed() == {0: 8})
    seen = sorted(seen_by_reader(made, 2), key=lambda outcome: outcome.reason or "")
    assert [outcome.reason for outcome in seen] == ["image_not_found", "result_too_large"]
    assert seen[0].value == record.value


def test_many_small_results_fit_a_topic_with_a_small_limit(topics: CreateTopics) -> None:
    """The limit is held against the batch that the producer makes of them."""
    made = topics(partitions=1, settings={"max.message.bytes": "6000"})
    sources = made.publish([JOB] * 40)
    with Member(made, inspect=large_at(0, 600, others=600)) as member:
        producer = member.delivery._live
        member.is_delivering_by_itself = False
        turns(member, until=holding(member, 40))
        member.deliver()
        assert member.delivery._live is producer
        assert member.committed() == {0: 40}
    assert not any(outcome.reason for outcome in assert_delivered_once(made, sources))


# --- where the group starts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "first"), [("earliest", 2), ("latest", 5)])
def test_a_group_without_offsets_starts_where_it_is_told_and_commits_that_at_once(
    topics: CreateTopics, start: str, first: int
) -> None:
    """The next owner starts at the same place: `latest` would else skip what came meanwhile."""
    made = topics(partitions=6)
    made.publish([JOB] * 30)
    delete_below(made, dict.fromkeys(range(6), 2))
    stuck = threading.Event()

    def inspect(job: Job, _: Claim) -> Outcome:
        stuck.wait(60)
        return a_result(job.record)

    kafka = {"start": start}
    with Member(made, kafka=kafka, inspect=inspect) as member:
        turns(member, until=lambda: member.placed == set(range(6)))
        assert member.committed() == dict.fromkeys(range(6), first)
        more = made.publish([JOB] * 6)
    stuck.set()
    with Member(made, kafka=kafka, slot="b") as other:
        turns(other, until=has_delivered(made, other, more))
    offsets = range(first, 6)
    assert_delivered_once(made, [Source(made.jobs, partition, offset) for partition in range(6) for offset in offsets])


def test_a_partition_is_placed_or_the_process_ends_but_none_stands_still(topics: CreateTopics) -> None:
    """A fetch that meets "out of range" before the pause leaves a partition that no seek can start again."""
    made = topics(partitions=6)
    made.publish([JOB] * 30)
    delete_below(made, dict.fromkeys(range(6), 2))
    with Member(made) as member:
        member.source._log_ends = {}  # it waits at offset 0
        with contextlib.suppress(Fatal):
            turns(member, until=lambda: member.placed == set(range(6)), within=10)


def test_nothing_is_read_from_a_start_that_the_group_did_not_take(topics: CreateTopics) -> None:
    made = topics(partitions=1)
    sources = made.publish([JOB] * 2)
    with Member(made) as member:
        source, send = member.source, member.source._send_commit

        def refuse(offsets: dict[int, int]) -> None:
            source._send_commit = send  # type: ignore[method-assign]
            assert member.placed == frozenset()
            positions = [TopicPartition(made.jobs, partition, offset) for partition, offset in offsets.items()]
            source._on_commit(KafkaError(KafkaError.REBALANCE_IN_PROGRESS), positions)

        source._send_commit = refuse  # type: ignore[method-assign]
        turns(member, until=lambda: source._send_commit is send)
        assert member.placed == frozenset()
        turns(member, until=has_delivered(made, member, sources))
    assert_delivered_once(made, sources)


def test_a_committed_offset_that_fell_out_of_the_log_ends_the_process_and_is_not_reset(topics: CreateTopics) -> None:
    made = topics(partitions=1)
    sources = made.publish([JOB] * 3)
    with Member(made) as member:
        turns(member, until=has_delivered(made, member, sources))
    made.publish([JOB] * 5)
    delete_below(made, {0: 6})
    with Member(made) as member:
        with pytest.raises(CheckFailed, match=f"partition 0 of {made.jobs}") as caught:
            turns(member, until=lambda: False)
        member.runner._may_hand_over = False
        assert caught.value.exit_code == 1
        assert member.committed() == {0: 3}
    assert_delivered_once(made, sources)


def test_unstable_offsets_hold_their_own_partition_alone(topics: CreateTopics) -> None:
    """A killed owner's transaction is open until it times out."""
    made = topics(partitions=3)
    sources = made.publish([JOB] * 6)
    dead = Consumer({"bootstrap.servers": made.bootstrap_servers, "group.id": made.group})
    producer = Producer({"bootstrap.servers": made.bootstrap_servers, "transactional.id": f"{made.group}.dead"})
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.send_offsets_to_transaction([TopicPartition(made.jobs, 1, 1)], dead.consumer_group_metadata(), 10)
    with Member(made) as member:
        others = [source for source in sources if source.partition != 1]
        turns(member, until=has_delivered(made, member, others))
        assert member.placed == {0, 2}
        producer.commit_transaction(10)
        turns(member, until=has_delivered(made, member, sources))
    dead.close()
    assert_delivered_once(made, [source for source in sources if (source.partition, source.offset) != (1, 0)])


# --- caught up ------------------------------------------------------------------------------------------------------


@PROTOCOLS
def test_until_caught_up_ends_behind_the_markers_of_transactions(topics: CreateTopics, protocol: str) -> None:
    made = topics(partitions=3)
    jobs = Producer({"bootstrap.servers": made.bootstrap_servers, "transactional.id": made.jobs})
    jobs.init_transactions(10)
    for is_kept in (True, False):
        jobs.begin_transaction()
        for partition in (0, 1):
            jobs.produce(made.jobs, JOB, partition=partition)
        jobs.flush(10)
        (jobs.commit_transaction if is_kept else jobs.abort_transaction)(10)
    member = Member(made, kafka={"group_protocol": protocol})
    wait_until(
        lambda: member.log_offsets.ends(timeout=5) == {0: 4, 1: 4, 2: 0}, within=10, what="the markers are there"
    )
    assert member.run(until=member.log_offsets.ends(timeout=5)) is Stopped.CAUGHT_UP
    assert_delivered_once(made, [Source(made.jobs, 0, 0), Source(made.jobs, 1, 0)])


# --- at least once --------------------------------------------------------------------------------------------------


def test_at_least_once_commits_nothing_of_a_partition_that_went_away(topics: CreateTopics) -> None:
    made = topics(partitions=1)
    sources = made.publish([JOB] * 3)
    with Member(made, delivery={"mode": "at_least_once", "interval": 0}) as member:
        member.is_delivering_by_itself = False
        turns(member, until=holding(member, 3))
        produce = member.delivery._produce

        def lose(*arguments: object) -> None:
            produce(*arguments)
            member.runner.lost([0])

        member.delivery._produce = lose
        member.deliver()
        assert member.delivery._committing is None
        assert member.committed() == {0: 0}
    with Member(made, delivery={"mode": "at_least_once", "interval": 0}) as other:
        turns(other, until=has_delivered(made, other, sources))
    assert len(seen_by_reader(made, 6)) == 6  # twice: that is what it promises


def test_at_least_once_waits_for_its_own_answer_when_start_positions_are_committed_beside_it(
    topics: CreateTopics,
) -> None:
    made = topics(partitions=1)
    sources = made.publish([JOB] * 2)
    with Member(made, delivery={"mode": "at_least_once", "interval": 0}) as member:
        member.is_delivering_by_itself = False
        turns(member, until=holding(member, 2))
        member.deliver()
        member.source._commit_start([0])  # a partition that comes just now
        turns(member, until=lambda: not member.source._starting)
        member.is_delivering_by_itself = True
        turns(member, until=done(member))
    assert {outcome.source for outcome in seen_by_reader(made, 2)} == set(sources)


# --- what the settings say ------------------------------------------------------------------------------------------


def test_properties_of_kafka_extra_reach_the_client(topics: CreateTopics) -> None:
    made = topics(partitions=1)
    with Member(made, kafka={"extra": {"client.id": "line-3"}}) as member:
        turns(member, until=lambda: member.placed == {0})
        admin = AdminClient({"bootstrap.servers": made.bootstrap_servers})
        group = admin.describe_consumer_groups([made.group])[made.group].result(10)
        assert [listed.client_id for listed in group.members] == ["line-3"]


@pytest.mark.parametrize(
    "extra",
    [
        {"no.such.property": 1},
        {"session.timeout.ms": "soon"},
        {"message.timeout.ms": 13_000},
    ],
)
def test_nonsense_among_the_properties_is_one_clear_error(topics: CreateTopics, extra: dict[str, str | int]) -> None:
    made = topics(partitions=1)
    topics_of(settings_of(made))
    with pytest.raises(SettingsError, match=next(iter(extra))), Member(made, kafka={"extra": extra}):
        pass


def test_a_second_member_with_the_same_instance_id_ends_the_first_one(topics: CreateTopics) -> None:
    """The consumer's own fatal error."""
    made = topics(partitions=1)
    kafka = {"extra": {"group.instance.id": "line-3"}}
    with Member(made, kafka=kafka) as member:
        turns(member, until=lambda: member.placed == {0})
        with Member(made, slot="b", kafka=kafka) as other:
            with pytest.raises(Fatal, match=r"group\.instance\.id"):
                turns(member, other, until=lambda: False)
            member.runner._may_hand_over = False


@pytest.mark.parametrize("key", ["jobs", "results", "dead_letters"])
def test_a_missing_topic_is_named(topics: CreateTopics, key: str) -> None:
    made = topics(partitions=1)
    topics_of(settings_of(made))
    names: dict[str, Any] = {key: "nowhere"}
    elsewhere = replace(made, **names)
    with pytest.raises(SettingsError, match=rf"topics\.{key}: topic nowhere does not exist"):
        read_topics(settings_of(elsewhere), timeout=10)


def test_dead_letters_that_could_not_hold_a_job_are_refused(topics: CreateTopics) -> None:
    made = topics(partitions=1)
    topics_of(settings_of(made))
    set_limit(made, made.dead_letters, 1_048_588 + 64 * 1024 - 1)
    with pytest.raises(SettingsError, match=r"topics\.dead_letters: max\.message\.bytes"):
        read_topics(settings_of(made), timeout=10)


def test_a_broker_that_is_not_there_may_come_and_one_that_refuses_us_will_not(topics: CreateTopics) -> None:
    made = topics(partitions=1)
    nobody = {"bootstrap_servers": "127.0.0.1:9"}
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9 does not answer"):
        read_topics(settings_of(made, kafka=nobody), timeout=1)
    sasl = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "u",
        "sasl.password": "p",
    }
    with pytest.raises(SettingsError, match="refuses the credentials"):
        read_topics(settings_of(made, kafka={"extra": sasl}), timeout=1)
