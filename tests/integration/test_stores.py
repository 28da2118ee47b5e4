"""Is an image detected that was put into a bucket, while nobody publishes a job: the store tells by itself?

Their events were recorded for tests/unit/events/.
"""

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from consumer.demo.parts import Part, encode, render_part
from tests.conftest import CreateTopics, StartConsumer
from tests.rigs.deadline import wait_until
from tests.rigs.kafka import Kafka
from tests.rigs.outcomes import OutcomeReader
from tests.rigs.process import ConsumerProcess
from tests.rigs.s3 import S3Server
from tests.rigs.versitygw import Versitygw, missing_go

pytestmark = [pytest.mark.slow, pytest.mark.kafka, pytest.mark.s3, pytest.mark.timeout(1200)]

WEIGHTS = Path(__file__).parents[2] / "consumer/demo/weights/parts-yolo26n.onnx"
KEY = "line 3/ü+1.jpg"
BUCKET = "parts"

Store = Versitygw | S3Server


def versitygw(bootstrap_servers: str, topic: str) -> Versitygw:
    if (reason := missing_go()) is not None:
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(f"no versitygw: {reason}")
        pytest.skip(f"no versitygw: {reason}")
    return Versitygw(bootstrap_servers, topic)


def seaweedfs(bootstrap_servers: str, topic: str) -> S3Server:
    server = S3Server()
    text = f'[notification.kafka]\nenabled = true\nhosts = ["{bootstrap_servers}"]\ntopic = "{topic}"\n'
    (server._folder / "notification.toml").write_text(text)
    return server


@pytest.mark.parametrize("open_store", [versitygw, seaweedfs])
def test_an_image_put_into_a_bucket_is_detected(
    kafka: Kafka,
    topics: CreateTopics,
    start_consumer: StartConsumer,
    open_store: Callable[[str, str], AbstractContextManager[Store]],
) -> None:
    made = topics(partitions=2)
    part = part_with_a_defect()
    with open_store(kafka.bootstrap_servers, made.jobs) as store:
        store.client.create_bucket(Bucket=BUCKET)
        settings = {
            **made.settings,
            "s3": {"endpoint_url": store.endpoint_url},
            "images": {"allowed_buckets": [BUCKET]},
            "model": {"weights": str(WEIGHTS), "device": "cpu"},
        }
        consumer = start_consumer(settings, environment=store.environment)
        consumer.wait_ready()
        store.client.put_object(Bucket=BUCKET, Key=KEY, Body=encode(part, "jpg"))
        with OutcomeReader(kafka.bootstrap_servers, [made.results]) as reader:
            reader.read_count(1, within=60)
            store.client.delete_object(Bucket=BUCKET, Key=KEY)
            wait_until(partial(has_skipped_a_removal, consumer), within=30, what="the removal is skipped")
            [outcome] = reader.read_to_end()
    result = json.loads(outcome.value or b"null")
    assert (result["image"]["bucket"], result["image"]["key"]) == (BUCKET, KEY)
    assert {defect.class_name for defect in part.defects} <= {one["class_name"] for one in result["detections"]}


def part_with_a_defect() -> Part:
    return next(part for part in (render_part(20_261, number) for number in range(100)) if part.defects)


def has_skipped_a_removal(consumer: ConsumerProcess) -> bool:
    return consumer.metric("inspection_jobs_total", outcome="skipped", reason="removal") >= 1
