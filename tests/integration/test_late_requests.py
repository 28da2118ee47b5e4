"""What do requests do that come to the broker when the calls that sent them have long ended?

A transaction of librdkafka has no number: a request that was held up counts for the transaction that its producer has
open when it arrives. That the producer is replaced after any doubt is all that keeps the two apart.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from consumer.errors import Unavailable
from consumer.inspector import Claim
from tests.conftest import CreateTopics, StartConsumer
from tests.rigs.deadline import wait_until
from tests.rigs.jobs import job, put_pictures, settings_for
from tests.rigs.kafka_proxy import Api, Catch, ProxiedKafka
from tests.rigs.member import Member, turns
from tests.rigs.outcomes import OutcomeReader, judge
from tests.rigs.s3 import S3Server
from tests.rigs.topics import Topics

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]

JOB = job("parts", "x.jpg")
IMPATIENT = {"socket.timeout.ms": 1000}  # after this a request is sent again, on another connection


@pytest.mark.parametrize("is_impatient", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("late", "aborted", "moment"),
    [
        # What was aborted would be seen, offsets be committed without their outcomes, older offsets win.
        pytest.param(Api.END_TXN, "next", "before_offsets", id="commit"),
        pytest.param(Api.END_TXN, "first", "before_offsets", id="abort"),
        pytest.param(Api.TXN_OFFSET_COMMIT, "none", "before_commit", id="offsets"),
    ],
)
def test_a_late_request_of_one_transaction_does_nothing_to_the_next(
    proxied_kafka: ProxiedKafka, topics: CreateTopics, late: Api, aborted: str, moment: str, is_impatient: bool
) -> None:
    """Its client sends it again after it lost the connection, or waited in vain for an answer."""
    made = topics(partitions=1, kafka=proxied_kafka)
    sources = made.publish([JOB] * 2)
    with Member(made, kafka={"extra": IMPATIENT if is_impatient else {}}) as member:
        member.is_delivering_by_itself = False
        turns(member, until=lambda: len(member.heads) == 2)
        if aborted == "first":
            disown_once(member)
        with proxied_kafka.proxy.hold(late, count=1) as catch:
            if is_impatient:
                member.deliver()
            else:
                with hanging_up(catch):
                    member.deliver()
            (request,) = catch.requests
            assert not request.is_answered
            assert len(member.heads) == (2 if aborted == "first" else 0)  # it was sent again, and that was done

            sources += made.publish([JOB] * 2)
            turns(member, until=lambda: [head.offset for head in member.heads][-1:] == [3])

            def let_through() -> None:
                member.delivery._live.flush(10)
                catch.release()
                catch.wait_answered()
                if aborted == "next":
                    disown_once(member)

            setattr(member.hooks, moment, let_through)
            member.is_delivering_by_itself = True
            turns(member, until=lambda: has_committed(member, 4) and not member.heads)
            catch.wait_answered(within=0)
    with OutcomeReader(made.bootstrap_servers, made.outcomes) as reader:
        verdict = judge(sources, reader.read_count(4, within=10))
    assert verdict.is_clean, str(verdict)


def has_committed(member: Member, offset: int) -> bool:
    try:
        return member.stable() == {0: offset}
    except Unavailable:  # no answer in half a second
        return False


def disown_once(member: Member) -> None:
    """The next look whether the heads are still ours says no: the transaction is aborted, the heads stay."""
    owns = member.delivery._owns

    def is_not_owned(_: Claim) -> bool:
        member.delivery._owns = owns
        return False

    member.delivery._owns = is_not_owned


@contextmanager
def hanging_up(catch: Catch) -> Iterator[None]:
    """The connection is lost as soon as the request is caught."""

    def hang_up() -> None:
        catch.wait()
        catch.hang_up()

    thread = threading.Thread(target=hang_up, name="hang-up")
    thread.start()
    yield
    thread.join()


@pytest.mark.s3
@pytest.mark.slow
def test_a_delivery_ends_although_its_connections_are_lost_again_and_again(
    proxied_kafka: ProxiedKafka, s3: S3Server, bucket: str, topics: CreateTopics, start_consumer: StartConsumer
) -> None:
    """librdkafka waits for a group coordinator that it has lost without an end, whatever the time-out (its #5456)."""
    made = topics(partitions=1, kafka=proxied_kafka)
    keys = put_pictures(s3, bucket)
    replica = start_consumer(settings_for(made, s3, bucket), environment=s3.environment)
    replica.wait_ready()
    sources = []
    with OutcomeReader(proxied_kafka.cluster.bootstrap_servers, made.outcomes) as reader:
        for _ in range(3):
            sources += made.publish([job(bucket, key) for key in keys])
            reader.read_count(len(sources), within=30)  # the coordinators are known
            with proxied_kafka.proxy.look_for(Api.ADD_OFFSETS_TO_TXN, count=1) as catch:
                sources += made.publish([job(bucket, key) for key in keys])
                catch.wait()
                for _ in range(2):
                    proxied_kafka.proxy.reset()
                    wait_until(lambda: bool(proxied_kafka.proxy.connections), within=5, what="its client is back")
            verdict = judge(sources, reader.read_count(len(sources), within=30))
            assert verdict.is_clean, str(verdict)


@pytest.mark.s3
@pytest.mark.slow
@pytest.mark.parametrize("held", [Api.END_TXN, Api.TXN_OFFSET_COMMIT], ids=["commit", "offsets"])
def test_a_process_that_stood_still_until_its_transaction_timed_out_goes_on(
    proxied_kafka: ProxiedKafka,
    s3: S3Server,
    bucket: str,
    topics: CreateTopics,
    start_consumer: StartConsumer,
    held: Api,
) -> None:
    """Its producer is told that it is fenced, as if another process had its transactional id."""
    made = topics(partitions=1, kafka=proxied_kafka)
    keys = put_pictures(s3, bucket)
    short = {f"{name}.timeout.ms": 3000 for name in ("transaction", "message", "socket")}
    replica = start_consumer(settings_for(made, s3, bucket, kafka={"extra": short}), environment=s3.environment)
    replica.wait_ready()
    with proxied_kafka.proxy.hold(held, count=1) as catch:
        sources = made.publish([job(bucket, key) for key in keys])
        catch.wait()
        replica.pause()
        wait_until(lambda: has_timed_out(made), within=20, what="the broker has ended the transaction")
        replica.resume()
    sources += made.publish([job(bucket, key) for key in keys])
    with OutcomeReader(made.bootstrap_servers, made.outcomes) as reader:
        verdict = judge(sources, reader.read_count(len(sources), within=40))
    assert verdict.is_clean, str(verdict)
    assert replica.livez()[0] == 200
    assert "producer replaced" in [line["message"] for line in replica.log_lines]


def has_timed_out(topics: Topics) -> bool:
    """There are records that nobody will see, and no transaction is open."""
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    admin = AdminClient({"bootstrap.servers": topics.bootstrap_servers})
    ends: list[int] = []
    for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED):
        (future,) = admin.list_offsets({TopicPartition(topics.results, 0): latest}, isolation_level=level).values()
        ends.append(future.result(10).offset)
    return ends[0] == ends[1] > 0
