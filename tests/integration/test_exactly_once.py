"""The first promise on real servers: one committed outcome per job, in order, whatever dies."""

from functools import partial

import pytest

from tests.conftest import CreateTopics, StartConsumer
from tests.rigs.deadline import wait_until
from tests.rigs.jobs import Published, publish_mixed, put_pictures, settings_for
from tests.rigs.kafka import Kafka
from tests.rigs.outcomes import Outcome, OutcomeReader, judge
from tests.rigs.process import ConsumerProcess
from tests.rigs.s3 import S3Server

pytestmark = [pytest.mark.kafka, pytest.mark.s3, pytest.mark.timeout(240)]


def assert_kept(published: Published, seen: list[Outcome]) -> None:
    """Each job has one outcome, in order, and the dead letters are the bad jobs with their reasons."""
    verdict = judge(published.sources, seen)
    assert verdict.is_clean, str(verdict)
    assert {outcome.source: outcome.reason for outcome in seen if outcome.reason} == published.reasons


def has_noticed(replica: ConsumerProcess) -> bool:
    """Readiness is red for the store, and the replica has tried five times."""
    retries = replica.metric("inspection_retries_total", stage="fetch")
    return retries >= 5 and replica.readyz()[1]["store"] != "ok"


@pytest.mark.parametrize("protocol", ["classic", pytest.param("consumer", marks=pytest.mark.slow)])
def test_a_process_killed_and_one_added_half_way_cost_no_job_and_repeat_none(
    kafka: Kafka, s3: S3Server, bucket: str, topics: CreateTopics, start_consumer: StartConsumer, protocol: str
) -> None:
    """Nobody has a `delivery.slot` of its own: replicas on one host keep apart by themselves."""
    made = topics(partitions=12)
    keys = put_pictures(s3, bucket)
    missed_soon = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000} if protocol == "classic" else {}
    settings = settings_for(made, s3, bucket, kafka={"group_protocol": protocol, "extra": missed_soon})
    count = 3000
    replicas = [start_consumer(settings, name=name, environment=s3.environment) for name in ("a", "b", "c")]
    for replica in replicas:
        replica.wait_ready()
    with OutcomeReader(kafka.bootstrap_servers, made.outcomes) as reader:
        published = publish_mixed(made, bucket, keys, count)
        reader.read_until(lambda seen: len(seen) >= count // 3, within=90)
        replicas[0].kill()
        start_consumer(settings, name="d", environment=s3.environment)
        seen = reader.read_count(count, within=120)
    assert_kept(published, seen)


def test_a_store_outage_costs_no_job_and_work_resumes_by_itself(
    kafka: Kafka, topics: CreateTopics, start_consumer: StartConsumer
) -> None:
    made = topics(partitions=6)
    count, bucket = 600, "parts"
    with S3Server() as store, OutcomeReader(kafka.bootstrap_servers, made.outcomes) as reader:
        store.create_bucket(bucket)
        keys = put_pictures(store, bucket)
        settings = settings_for(made, store, bucket)
        replicas = [start_consumer(settings, name=name, environment=store.environment) for name in ("a", "b", "c")]
        for replica in replicas:
            replica.wait_ready()
        first = publish_mixed(made, bucket, keys, count)
        reader.read_until(lambda seen: len(seen) >= count // 3, within=60)
        store.stop()
        second = publish_mixed(made, bucket, keys, count)
        for replica in replicas:
            wait_until(partial(has_noticed, replica), within=60, what="red, and five attempts more")
            assert replica.livez()[0] == 200
        owned = [replica.metric("inspection_rebalances_total") for replica in replicas]
        store.start()
        seen = reader.read_count(2 * count, within=90)
        for replica in replicas:
            replica.wait_ready()
        assert [replica.metric("inspection_rebalances_total") for replica in replicas] == owned
    assert_kept(Published(first.sources + second.sources, first.reasons | second.reasons), seen)


def test_the_older_of_two_processes_with_one_slot_ends_with_4_and_names_it(
    kafka: Kafka, s3: S3Server, bucket: str, topics: CreateTopics, start_consumer: StartConsumer
) -> None:
    made = topics(partitions=2)
    keys = put_pictures(s3, bucket)
    settings = settings_for(made, s3, bucket, delivery={"slot": "line-3"})
    older = start_consumer(settings, name="older", environment=s3.environment)
    older.wait_ready()
    newer = start_consumer(settings, name="newer", environment=s3.environment)
    newer.wait_ready()
    published = publish_mixed(made, bucket, keys, 100)
    assert older.wait(60) == 4
    assert f"inspection.{made.group}.line-3" in older.log_lines[-1]["message"]
    with OutcomeReader(kafka.bootstrap_servers, made.outcomes) as reader:
        seen = reader.read_count(100, within=60)
    assert_kept(published, seen)
