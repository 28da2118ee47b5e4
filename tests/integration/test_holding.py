"""Does the process hold, rather than drain its topic into the dead letters, when too many jobs fail?"""

from functools import partial

import pytest
from confluent_kafka.admin import AdminClient

from tests.conftest import CreateTopics, StartConsumer
from tests.rigs.deadline import wait_until
from tests.rigs.jobs import job, picture, settings_for
from tests.rigs.kafka import Kafka
from tests.rigs.outcomes import OutcomeReader, judge
from tests.rigs.process import ConsumerProcess
from tests.rigs.s3 import S3Server

pytestmark = [pytest.mark.kafka, pytest.mark.s3]

OFF = {"dead_letter_run": 0, "dead_letter_ratio": 1.0}
LIMITS = {"dead_letter_run": {**OFF, "dead_letter_run": 10}, "dead_letter_ratio": {**OFF, "dead_letter_ratio": 0.2}}


def test_too_many_dead_letters_hold_the_process_until_a_person_restarts_it(
    kafka: Kafka, s3: S3Server, bucket: str, topics: CreateTopics, start_consumer: StartConsumer
) -> None:
    s3.put(bucket, "a.jpg", picture(64, 64))
    good, bad = job(bucket, "a.jpg"), b"{broken"
    mine = {name: topics(partitions=1) for name in LIMITS}
    values = {
        "dead_letter_run": [good] * 20 + [bad] * 30 + [good] * 10,
        "dead_letter_ratio": [good] * 170 + [bad, good] * 100,
    }
    processes = {
        name: start_consumer(settings_for(each, s3, bucket, limits=LIMITS[name]), name=name, environment=s3.environment)
        for name, each in mine.items()
    }
    published = {}
    for name, process in processes.items():
        process.wait_ready()
        published[name] = mine[name].publish(values[name])
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    for name, process in processes.items():
        wait_until(partial(holds, process), within=60, what=f"{name} holds")
        status, checks = process.readyz()
        assert (status, process.livez()[0]) == (503, 200)
        assert f"limits.{name}" in checks["dead_letters"]
        published[name] += mine[name].publish([good] * 5)
        group = admin.describe_consumer_groups([mine[name].group])[mine[name].group].result(10)
        assert len(group.members) == 1
        process.terminate()
    assert {name: process.wait(20) for name, process in processes.items()} == dict.fromkeys(LIMITS, 0)
    for name, process in processes.items():
        assert [line["message"][:8] for line in process.log_lines if line["level"] == "ERROR"] == ["holding:"]
        with OutcomeReader(kafka.bootstrap_servers, mine[name].outcomes) as reader:
            dead = [outcome.reason for outcome in reader.read_to_end() if outcome.reason]
        assert len(dead) < 100 if name == "dead_letter_ratio" else len(dead) < 10
    mended = {
        name: start_consumer(
            settings_for(each, s3, bucket, limits=OFF),
            name=f"mended-{name}",
            environment=s3.environment,
            arguments=("--until-caught-up",),
        )
        for name, each in mine.items()
    }
    assert {name: process.wait(60) for name, process in mended.items()} == dict.fromkeys(LIMITS, 0)
    logged = [line["message"] for process in mended.values() for line in process.log_lines]
    assert not [message for message in logged if "one job at a time" in message]  # who held has not died
    for name, each in mine.items():
        with OutcomeReader(kafka.bootstrap_servers, each.outcomes) as reader:
            assert judge(published[name], reader.read_to_end()).is_clean


def holds(process: ConsumerProcess) -> bool:
    return process.readyz()[1]["dead_letters"] != "ok"


def test_a_batch_run_with_too_many_dead_letters_ends_with_1_since_nobody_restarts_it(
    s3: S3Server, bucket: str, topics: CreateTopics, start_consumer: StartConsumer
) -> None:
    made = topics(partitions=1)
    made.publish([b"{broken"] * 30)
    settings = settings_for(made, s3, bucket, limits=LIMITS["dead_letter_run"])
    process = start_consumer(settings, environment=s3.environment, arguments=("--until-caught-up",))
    assert process.wait(40) == 1
    assert "limits.dead_letter_run" in process.log_lines[-1]["message"]
