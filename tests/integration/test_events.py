"""Do the events of a store become outcomes as jobs do, whichever of them are no jobs?"""

import json
from functools import partial
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from consumer.messages import Record
from consumer.outcomes import read_dead_letter
from tests.conftest import CreateTopics, StartConsumer
from tests.rigs.deadline import wait_until
from tests.rigs.jobs import job, picture, settings_for
from tests.rigs.kafka import Kafka
from tests.rigs.outcomes import Outcome, OutcomeReader, Source, judge
from tests.rigs.process import ConsumerProcess
from tests.rigs.s3 import S3Server
from tests.rigs.topics import Topics

pytestmark = [pytest.mark.kafka, pytest.mark.s3]

TEST_EVENT = b'{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "parts"}'


def event(bucket: str, key: str, *, name: str = "ObjectCreated:Put") -> dict[str, Any]:
    stored = {"bucket": {"name": bucket}, "object": {"key": key, "eTag": "an-older-one"}}
    return {"eventSource": "aws:s3", "eventName": name, "s3": stored}


def records(*events: dict[str, Any]) -> bytes:
    return json.dumps({"Records": events}).encode()


@pytest.mark.parametrize("mode", ["exactly_once", "at_least_once"])
def test_a_record_of_several_events_is_done_whole_and_one_of_them_again_when_it_is_redriven(
    kafka: Kafka, s3: S3Server, bucket: str, topics: CreateTopics, start_consumer: StartConsumer, mode: str
) -> None:
    made = topics(partitions=1)
    for key in ("first one+.jpg", "third.jpg", "plain.jpg"):
        s3.put(bucket, key, picture(64, 64))
    removal = event(bucket, "gone.jpg", name="ObjectRemoved:Delete")
    several = records(event(bucket, "first+one%2B.jpg"), event(bucket, "late.jpg"), removal, event(bucket, "third.jpg"))
    native = job(bucket, "plain.jpg")
    settings = settings_for(made, s3, bucket, images={"not_found_grace": 0.5}, delivery={"mode": mode, "interval": 0.1})
    consumer = start_consumer(settings, environment=s3.environment)
    before, _, at, after, _ = made.publish([native, TEST_EVENT, several, native, records(removal)])
    with OutcomeReader(kafka.bootstrap_servers, made.outcomes) as reader:
        seen = reader.read_count(5, within=30)
        wait_until(lambda: committed(made) == 5, within=10, what="the record without a job is committed too")

        mine = [Source(at.topic, at.partition, at.offset, index) for index in (0, 1, 3)]
        verdict = judge([before, *mine, after], seen)
        assert verdict.is_clean, verdict
        assert {one.source.index: one.reason for one in seen if one.source in mine} == {
            0: None,
            1: "image_not_found",
            3: None,
        }
        wait_until(partial(has_counted, consumer, 3), within=10, what="all that was skipped is counted")
        assert consumer.metric("inspection_jobs_total", outcome="skipped", reason="test_event") == 1

        [letter] = [outcome for outcome in seen if outcome.reason]
        s3.put(bucket, "late.jpg", picture(64, 64))
        [again] = redrive(made, letter)
        seen = reader.read_count(6, within=30)
        wait_until(lambda: committed(made) == 6, within=10, what="the redriven record is committed")

    [result] = [json.loads(one.value or b"") for one in seen if one.source.offset == again.offset]
    assert result["job_id"] == f"{at.topic}/{at.partition}/{at.offset}/1"
    assert (result["image"]["key"], result["source"]["index"]) == ("late.jpg", 1)
    assert len(seen) == 6
    assert consumer.metric("inspection_jobs_total", outcome="skipped") == 3


def redrive(topics: Topics, letter: Outcome) -> list[Source]:
    """Publish the original with the headers that a redriven job has."""
    record = Record(letter.topic, letter.partition, letter.offset, 0, letter.key, letter.value, letter.headers)
    headers = read_dead_letter(record).original_headers()
    return topics.publish([letter.value or b""], headers={name: value or b"" for name, value in headers})


def committed(topics: Topics) -> int | None:
    consumer = Consumer({"bootstrap.servers": topics.bootstrap_servers, "group.id": topics.group})
    try:
        [position] = consumer.committed([TopicPartition(topics.jobs, 0)], timeout=10)
        return position.offset
    finally:
        consumer.close()


def has_counted(process: ConsumerProcess, skipped: int) -> bool:
    return process.metric("inspection_jobs_total", outcome="skipped") == skipped
