"""Does each rule of a delivery and of a takeover hold where nothing else would? `make mutants` takes the rules away.

The members' client protocol is that of TEST_GROUP_PROTOCOL, else classic. Marked slow is what another test of
`make test` notices too, though later or less clearly.
"""

import threading
import time

import msgspec
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.custody import DEATHS, NOTHING, SCHEMA, Note, read_note
from consumer.errors import Fatal, Unavailable
from consumer.inspector import Claim
from consumer.kafka import doubt
from consumer.messages import Job, Outcome
from consumer.runner import Stopped
from tests.conftest import CreateTopics
from tests.rigs.deadline import wait_until
from tests.rigs.deliveries import JOB, assert_delivered_once, done, has_delivered, holding, seen_by_reader
from tests.rigs.member import Member, turns
from tests.rigs.outcomes import Source, judge
from tests.rigs.topics import Topics
from tests.unit.samples import a_record, a_result

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(60)]


# --- doubt ----------------------------------------------------------------------------------------------------------


def test_a_commit_whose_answer_is_lost_is_asked_for_and_not_made_again(topics: CreateTopics) -> None:
    made = topics(partitions=2)
    sources = made.publish([JOB] * 6)

    def lose_answer() -> None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    with Member(made) as member:
        member.is_delivering_by_itself = False
        turns(member, until=holding(member, 6))
        first = member.delivery._live
        member.hooks.after_commit = lose_answer
        member.deliver()
        assert len(member.heads) == 6  # as far as it knows
        member.is_delivering_by_itself = True
        turns(member, until=done(member))
        assert member.delivery._live is not first
    assert_delivered_once(made, sources)


@pytest.mark.slow
def test_after_a_slow_commit_another_producer_makes_the_next_one(
    topics: CreateTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = topics(partitions=1)
    sources = made.publish([JOB])
    with Member(made) as member:
        member.is_delivering_by_itself = False
        turns(member, until=holding(member, 1))
        monkeypatch.setattr(doubt, "SLOW_COMMIT", 0.0)
        member.deliver()
        first = member.delivery._live
        assert member.committed() == {0: 1}
        member.is_delivering_by_itself = True
        sources += made.publish([JOB])
        turns(member, until=has_delivered(made, member, sources))
        assert member.delivery._live is not first
    assert_delivered_once(made, sources)


# --- what comes and goes --------------------------------------------------------------------------------------------


def test_finished_work_of_a_lost_partition_is_not_delivered_although_the_broker_would_take_it(
    topics: CreateTopics,
) -> None:
    made = topics(partitions=1)
    made.publish([JOB] * 3)
    with Member(made) as member:
        member.is_delivering_by_itself = False
        turns(member, until=holding(member, 3))
        member.runner.lost([0])
        assert member.heads == []
        assert member.committed() == {0: 0}
    assert seen_by_reader(made, 0) == []


def test_a_record_that_comes_while_a_call_is_repeated_is_done_too(topics: CreateTopics) -> None:
    made = topics(partitions=1)
    sources = made.publish([JOB])
    with Member(made) as member:
        member.is_delivering_by_itself = False
        turns(member, until=holding(member, 1))
        sources += made.publish([JOB])

        def has_taken_in() -> bool:
            member.runner.pump("a call is repeated")
            return len(member.runner._admission) == 1

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(member.source, "pause", lambda _: None)  # it was on its way before the pause
            wait_until(has_taken_in, within=5, what="the record is there")
        member.is_delivering_by_itself = True
        turns(member, until=has_delivered(made, member, sources))
    assert_delivered_once(made, sources)


@pytest.mark.slow
def test_nothing_is_fetched_while_a_call_is_repeated_and_all_flows_again_after_it(topics: CreateTopics) -> None:
    made = topics(partitions=2)
    with Member(made) as member:
        turns(member, until=lambda: member.placed == {0, 1})
        other = Consumer({"bootstrap.servers": made.bootstrap_servers, "group.id": f"{made.group}.other"})
        other.assign([TopicPartition(made.jobs, partition, 0) for partition in (0, 1)])
        sources: list[Source] = []
        read = 0

        def has_read() -> bool:
            nonlocal read
            member.runner.pump("a call is repeated")
            read += len(other.consume(20, 0.05))
            return read == len(sources)

        for _ in range(15):  # in each the member may be second
            sources += made.publish([JOB] * 4)
            wait_until(has_read, within=10, what="another consumer has read them")
        other.close()
        assert len(member.runner._admission) == 0
        turns(member, until=has_delivered(made, member, sources))
    assert_delivered_once(made, sources)


@pytest.mark.slow
def test_an_assigned_partition_is_not_fetched_before_its_position_is_known(
    topics: CreateTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = topics(partitions=1)
    with Member(made) as member:
        asked = 0

        def unknown(partitions: list[int], *, timeout: float) -> None:
            nonlocal asked
            asked += 1
            raise Unavailable("broker", "not now")

        with monkeypatch.context() as patch:
            patch.setattr(member.log_offsets, "standing", unknown)
            turns(member, until=lambda: member.owned == {0})
            sources = made.publish([JOB] * 3)
            first = asked
            turns(member, until=lambda: asked > first + 15)
            (at,) = member.source.consumer.position([TopicPartition(made.jobs, 0)])
            assert at.offset < 0
        turns(member, until=has_delivered(made, member, sources))
    assert_delivered_once(made, sources)


@pytest.mark.slow
def test_a_member_without_partitions_that_leaves_is_gone_at_once(topics: CreateTopics) -> None:
    made = topics(partitions=1)
    admin = AdminClient({"bootstrap.servers": made.bootstrap_servers})

    def members() -> int:
        return len(admin.describe_consumer_groups([made.group])[made.group].result(10).members)

    with Member(made) as first:
        turns(first, until=lambda: first.placed == {0})
        with Member(made, slot="b") as second:
            turns(first, second, until=lambda: members() == 2 and second.source.is_member)
            idle = second if first.owned else first
            assert not idle.owned
            idle.leave()
            wait_until(lambda: members() == 1, within=4, what="it is gone")  # a session lasts 6 s and more


# --- too much goes wrong --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_too_many_dead_letters_hold_what_is_finished_and_all_behind_it(
    topics: CreateTopics, caplog: pytest.LogCaptureFixture
) -> None:
    made = topics(partitions=1)
    made.publish([b"{broken"] * 3)
    with Member(made, limits={"dead_letter_run": 3}, delivery={"interval": 3600}) as member:
        member.is_delivering_by_itself = False
        turns(member, until=holding(member, 3))
        member.is_delivering_by_itself = True
        member.turn()
        assert "limits.dead_letter_run" in member.health.readiness["dead_letters"]
        made.publish([JOB])
        for _ in range(5):
            member.turn()
        assert member.committed() == {0: 0}
    assert seen_by_reader(made, 0) == []
    assert [record.message[:8] for record in caplog.records if record.levelname == "ERROR"] == ["holding:"]


def test_a_process_that_must_end_delivers_nothing_on_its_way_out(topics: CreateTopics) -> None:
    made = topics(partitions=1)
    made.publish([JOB] * 2)
    places: list[Claim] = []
    is_second = threading.Event()

    def inspect(job: Job, place: Claim) -> Outcome:
        places.append(place)
        if job.record.offset == 0:
            return a_result(job.record)
        head = place.entry.line.entries[0]  # type: ignore[attr-defined]
        wait_until(lambda: head.is_finished, within=10, what="the first one has its outcome")
        is_second.set()
        raise Fatal("the engine is broken")

    member = Member(made, inspect=inspect, delivery={"interval": 3600})
    member.runner._delivered_at = float("inf")
    with pytest.raises(Fatal, match="the engine is broken"):
        member.run()
    assert is_second.is_set()
    assert member.committed() == {0: 0}
    assert seen_by_reader(made, 0) == []


@pytest.mark.slow
def test_a_stop_finishes_what_is_in_hand_and_begins_nothing_more(topics: CreateTopics) -> None:
    made = topics(partitions=1)
    sources = made.publish([JOB] * 10)
    begun: list[int] = []

    def inspect(job: Job, _: Claim) -> Outcome:
        begun.append(job.record.offset)
        member.stopping.set()
        wait_until(lambda: member.runner._drain_until is not None, within=20, what="it drains")
        return a_result(job.record)

    member = Member(made, inspect=inspect, limits={"max_in_flight": 2}, delivery={"drain_timeout": 20})
    assert member.run() is Stopped.ASKED
    assert sorted(begun) == [0, 1]
    assert member.committed() == {0: 2}
    assert_delivered_once(made, sources[:2])


@pytest.mark.slow
def test_what_comes_while_it_drains_is_not_begun(topics: CreateTopics) -> None:
    made = topics(partitions=1)
    sources = made.publish([JOB])
    begun: list[int] = []
    may_end = threading.Event()

    def inspect(job: Job, _: Claim) -> Outcome:
        begun.append(job.record.offset)
        may_end.wait(60)
        return a_result(job.record)

    with Member(made, inspect=inspect) as member:
        turns(member, until=lambda: begun == [0])
        member.runner._drain_until = time.monotonic() + 60
        member.runner._take_in([a_record(JOB, topic=made.jobs, partition=0, offset=1)])
        member.turn()
        assert len(member.runner._ledger) == 1
        may_end.set()
        turns(member, until=has_delivered(made, member, sources))
    assert_delivered_once(made, sources)
    assert begun == [0]


# --- who died with what in hand -------------------------------------------------------------------------------------


def leave_behind(topics: Topics, note: Note) -> None:
    """The group stands at the beginning of partition 0, with this note of its last owner."""
    owner = Consumer({"bootstrap.servers": topics.bootstrap_servers, "group.id": topics.group})
    text = msgspec.json.encode(note).decode()
    owner.commit(offsets=[TopicPartition(topics.jobs, 0, 0, metadata=text)], asynchronous=False)
    owner.close()


def left_behind(member: Member) -> Note | None:
    standing = member.log_offsets.standing([0], timeout=5)[0]
    return read_note(standing.note) if standing else None


def test_a_job_that_so_many_processes_died_of_is_set_aside_and_its_neighbours_are_done(topics: CreateTopics) -> None:
    made = topics(partitions=1)
    sources = made.publish([JOB] * 3)
    leave_behind(made, Note(SCHEMA, "dead", in_flight=4, deaths={0: DEATHS - 1}, hand=0))
    inspected: list[int] = []

    def inspect(job: Job, claim: Claim) -> Outcome:
        claim.take_in_hand()
        inspected.append(job.record.offset)
        return a_result(job.record)

    with Member(made, inspect=inspect) as member:
        turns(member, until=has_delivered(made, member, sources))
    assert inspected == [1, 2]
    seen = assert_delivered_once(made, sources)
    assert {outcome.source.offset: outcome.reason for outcome in seen} == {0: "process_killed", 1: None, 2: None}


def test_after_a_death_the_group_knows_of_each_job_before_it_is_decoded(topics: CreateTopics) -> None:
    made = topics(partitions=1)
    sources = made.publish([JOB] * 3)
    leave_behind(made, Note(SCHEMA, "dead", in_flight=4))
    known: list[int | None] = []
    at_once = threading.Semaphore(1)

    def inspect(job: Job, claim: Claim) -> Outcome:
        claim.take_in_hand()
        assert at_once.acquire(blocking=False), "two are in hand"
        note = left_behind(member)
        known.append(note.hand if note else None)
        at_once.release()
        return a_result(job.record)

    with Member(made, inspect=inspect) as member:
        turns(member, until=has_delivered(made, member, sources))
    assert known == [0, 0, 0]
    assert_delivered_once(made, sources)


@pytest.mark.slow
def test_nothing_is_begun_while_it_cannot_be_committed_whose_it_is(
    topics: CreateTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = topics(partitions=1)
    sources = made.publish([JOB] * 3)
    begun: list[int] = []

    def inspect(job: Job, _: Claim) -> Outcome:
        begun.append(job.record.offset)
        return a_result(job.record)

    with Member(made, inspect=inspect) as member:
        with monkeypatch.context() as patch:
            patch.setattr(member.delivery, "deliver", lambda *_, **__: NOTHING)
            turns(member, until=lambda: member.source.position(0) == 3)
            assert (len(member.runner._admission), begun) == (3, [])
        turns(member, until=has_delivered(made, member, sources))
    assert_delivered_once(made, sources)


@pytest.mark.slow
def test_nothing_is_begun_before_the_group_knows_whose_it_is_and_a_member_that_leaves_hands_over(
    topics: CreateTopics,
) -> None:
    made = topics(partitions=1)
    sources = made.publish([JOB] * 2)
    owners: list[str | None] = []

    def inspect(job: Job, _: Claim) -> Outcome:
        note = left_behind(member)
        owners.append(note.by if note and not note.released else None)
        return a_result(job.record)

    leave_behind(made, Note(SCHEMA, "first", released=True))
    with Member(made, inspect=inspect) as member:
        turns(member, until=has_delivered(made, member, sources))
        assert owners == [member.runner._custodian._process] * 2
        held = left_behind(member)
        assert held is not None
        assert (held.by, held.released) == (owners[0], False)
        member.leave()
        handed_over = left_behind(member)
        assert handed_over is not None
        assert handed_over.released
    assert judge(sources, seen_by_reader(made, 2)).is_clean
