"""What does an engine cost that fails, hangs or has too little memory?"""

import pytest

from tests.conftest import CreateTopics, StartConsumer
from tests.rigs.deadline import wait_until
from tests.rigs.jobs import job, picture, red_picture, settings_for
from tests.rigs.kafka import Kafka
from tests.rigs.outcomes import OutcomeReader, judge
from tests.rigs.process import ConsumerProcess
from tests.rigs.s3 import S3Server

pytestmark = [pytest.mark.kafka, pytest.mark.s3]

JOBS = 40


def engine(name: str) -> dict[str, str]:
    return {"engine": f"tests.stand_ins:{name}_engine"}


def test_a_broken_engine_ends_the_process_with_5_and_costs_no_job(
    kafka: Kafka, s3: S3Server, bucket: str, topics: CreateTopics, start_consumer: StartConsumer
) -> None:
    s3.put(bucket, "red.jpg", red_picture())
    s3.put(bucket, "a.jpg", picture(64, 64))
    mine = {name: topics(partitions=2) for name in ("broken", "hanging", "sick")}
    published = {
        name: each.publish([job(bucket, "red.jpg" if number % 20 == 10 else "a.jpg") for number in range(JOBS)])
        for name, each in mine.items()
        if name != "sick"  # it is idle, so that nobody but the canary sees
    }
    sick = {
        name: start_consumer(
            settings_for(each, s3, bucket, model=engine(name), limits={"job_deadline": 1}),
            name=name,
            environment=s3.environment,
        )
        for name, each in mine.items()
    }
    assert {name: process.wait(60) for name, process in sick.items()} == dict.fromkeys(mine, 5)
    assert "the stand-in is broken" in error_of(sick["broken"])
    assert "limits.job_deadline" in error_of(sick["hanging"])
    assert "answers the canary otherwise than at its start" in error_of(sick["sick"])
    del mine["sick"]
    sound = {
        name: start_consumer(
            settings_for(each, s3, bucket),
            name=f"after-{name}",
            environment=s3.environment,
            arguments=("--until-caught-up",),
        )
        for name, each in mine.items()
    }
    assert {name: process.wait(60) for name, process in sound.items()} == {"broken": 0, "hanging": 0}
    for name, each in mine.items():
        with OutcomeReader(kafka.bootstrap_servers, each.outcomes) as reader:
            seen = reader.read_to_end()
        assert judge(published[name], seen).is_clean
        assert {outcome.reason for outcome in seen} == {None}


def test_a_lost_device_ends_the_process_and_another_replica_has_its_partitions_at_once(
    kafka: Kafka, s3: S3Server, bucket: str, topics: CreateTopics, start_consumer: StartConsumer
) -> None:
    """Its session would last 45 s: who waits for that is too late. The other was wrong once, and goes on."""
    s3.put(bucket, "red.jpg", red_picture())
    s3.put(bucket, "a.jpg", picture(64, 64))
    mine = topics(partitions=2)
    kafka_section = {"extra": {"session.timeout.ms": 45_000}}
    lost = start_consumer(
        settings_for(mine, s3, bucket, model=engine("lost"), kafka=kafka_section),
        name="lost",
        environment=s3.environment,
    )
    lost.wait_ready()
    sound = start_consumer(
        settings_for(mine, s3, bucket, model=engine("sick"), kafka=kafka_section),
        name="one-wrong-answer",
        environment=s3.environment | {"STAND_IN_WRONG": "1"},
    )
    sound.wait_ready()
    wait_until(lambda: "canary is asked once more" in sound.log, within=30, what="a wrong answer")
    published = mine.publish([job(bucket, "red.jpg" if number in (10, 11) else "a.jpg") for number in range(JOBS)])
    with OutcomeReader(kafka.bootstrap_servers, mine.outcomes) as reader:
        seen = reader.read_count(JOBS, within=30)
    assert lost.wait(10) == 5
    assert "device-side assert" in error_of(lost)
    assert judge(published, seen).is_clean
    assert {outcome.reason for outcome in seen} == {None}


def error_of(process: ConsumerProcess) -> str:
    """The one line that says why it ended."""
    [line] = [line for line in process.log_lines if "exit_code" in line]
    return str(line["message"])


def test_an_engine_with_little_memory_gets_smaller_batches(
    kafka: Kafka, s3: S3Server, bucket: str, topics: CreateTopics, start_consumer: StartConsumer
) -> None:
    s3.put(bucket, "a.jpg", picture(64, 64))
    mine = topics(partitions=2)
    settings = settings_for(mine, s3, bucket, model=engine("small"), batching={"max_batch": 8, "max_wait": 0.2})
    published = mine.publish([job(bucket, "a.jpg")] * JOBS)
    process = start_consumer(settings, environment=s3.environment)
    with OutcomeReader(kafka.bootstrap_servers, mine.outcomes) as reader:
        seen = reader.read_count(JOBS, within=60)
    assert judge(published, seen).is_clean
    assert {outcome.reason for outcome in seen} == {None}
    too_large = process.metric("inspection_batch_size_count") - process.metric("inspection_batch_size_bucket", le="2.0")
    assert 0 < too_large < JOBS / 4, "it never was too large, or was tried again and again"
