"""What does each kind of job come to? One process does them all, side by side."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest
from confluent_kafka import Producer
from prometheus_client.samples import Sample

from consumer.demo.ports import free_port
from consumer.errors import REASONS
from consumer.metrics import STAGES
from tests.rigs.deadline import wait_until
from tests.rigs.jobs import job, picture, red_picture, settings_for
from tests.rigs.kafka import Kafka
from tests.rigs.outcomes import Outcome, OutcomeReader, Source, judge
from tests.rigs.process import ConsumerProcess
from tests.rigs.s3 import S3Server
from tests.rigs.s3_proxy import Fault, S3Proxy
from tests.rigs.topics import Topics, create_topics, delete_topics

pytestmark = [pytest.mark.kafka, pytest.mark.s3]

Headers = tuple[tuple[str, bytes], ...]

BUCKET = "kinds-of-jobs"
TRACE: Headers = (("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), ("tracestate", b"x=1"))
METADATA = b'{ "line":3,  "note": "\\u00fc \xc3\xbc", "weight": 1.50e2, "tags": [ ] }'
NEIGHBOURS = 40
LIMIT = 4000  # max.message.bytes of jobs and results
OLD, EXPIRED = 60.0, 7200.0  # seconds
SETTINGS: dict[str, dict[str, Any]] = {
    "model": {"engine": "tests.stand_ins:failing_engine"},
    "images": {"max_bytes": 100_000, "max_pixels": 1_000_000, "not_found_grace": 20, "unavailable_after": 1},
    "limits": {"max_job_age": 3600, "dead_letter_run": 0, "dead_letter_ratio": 1.0},
}
METRICS = {
    "inspection_jobs_total": {"outcome": {"result", "dead_letter"}, "reason": {"", *REASONS}},
    "inspection_stage_seconds_count": {"stage": set(STAGES)},
    "inspection_batch_size_count": {"bucket": {"64x64"}},
    "inspection_in_flight_jobs": {},
    "inspection_in_flight_bytes": {},
    "inspection_lag_jobs": {"partition": {"0", "1"}},
    "inspection_lag_seconds": {"partition": {"0", "1"}},
    "inspection_deliveries_total": {"result": {"committed", "unfinished"}},
    "inspection_delivery_seconds_count": {},
    "inspection_rebalances_total": {"event": {"assigned", "revoked", "lost"}},
    "inspection_retries_total": {"stage": {"fetch"}, "reason": {"image_not_found", "InternalError", "network"}},
    "inspection_ready": {},
    "inspection_model_info": {"name": {"FailingEngine"}, "engine": {"stand-in"}, "precision": {"f32"}},
}


@dataclass(frozen=True)
class Kind:
    """A record to publish, and why it becomes a dead letter, if it does."""

    value: bytes | None
    reason: str | None = None
    key: bytes | None = b"camera 3"
    headers: Headers = TRACE
    age: float = 0.0


def image(key: str = "plain.jpg", **fields: Any) -> bytes:
    return job(BUCKET, key, **fields)


def parameters(**fields: Any) -> bytes:
    return image(parameters=fields)


KINDS = {
    "plain": Kind(image(), key=None, headers=()),
    "id in the field": Kind(image(job_id="mine"), headers=(("inspection-job-id", b"header's"), *TRACE)),
    "id in the header": Kind(image(), headers=(("inspection-job-id", b"first"), ("inspection-job-id", b"header's"))),
    "uri": Kind(json.dumps({"schema": "inspection.job/1", "image": f"s3://{BUCKET}/plain.jpg"}).encode()),
    "metadata": Kind(image().removesuffix(b"}") + b', "metadata": ' + METADATA + b"}"),
    "sure": Kind(parameters(confidence=1.0)),
    "first classes": Kind(parameters(classes=["a", "b", "c", "d"])),
    "last classes": Kind(parameters(classes=[4, 5, 6, 7])),
    "late": Kind(image("late.jpg")),
    "class without a name": Kind(parameters(classes=["scratch"]), "schema_invalid"),
    "class without an id": Kind(parameters(classes=[8]), "schema_invalid"),
    "no value": Kind(None, "schema_invalid", headers=(("a", b"\xff\x00"), ("b", b""), ("a", b"again"), *TRACE)),
    "no json": Kind(b"\xff{", "schema_invalid"),
    "no image": Kind(b'{"schema": "inspection.job/1"}', "schema_invalid"),
    "other bucket": Kind(job("elsewhere", "plain.jpg"), "bucket_not_allowed"),
    "expired": Kind(image("never-asked.jpg"), "job_expired", age=EXPIRED),
    "missing": Kind(image("missing.jpg"), "image_not_found", age=OLD),
    "denied": Kind(image("denied.jpg"), "image_forbidden"),
    "changed": Kind(image().replace(b'"key"', b'"etag": "0", "key"'), "image_changed"),
    "stuck": Kind(image("stuck.jpg"), "image_unavailable"),
    "cut": Kind(image("cut.jpg"), "image_unavailable"),
    "many bytes": Kind(image("heavy.jpg"), "image_too_large"),
    "many pixels": Kind(image("wide.jpg"), "image_too_many_pixels"),
    "gif": Kind(image("a.gif"), "image_format_unsupported"),
    "torn": Kind(image("torn.jpg"), "image_undecodable"),
    "poisoned": Kind(image("red.jpg"), "engine_failed"),
    "long result": Kind(image(metadata="m" * (LIMIT - 500)), "result_too_large"),
}
DEAD = [name for name, kind in KINDS.items() if kind.reason]


@dataclass(frozen=True)
class Done:
    """What all of them came to."""

    sources: dict[str, Source]
    outcomes: dict[str, Outcome]
    neighbours: list[Outcome]
    asked: dict[str, int]
    metrics: list[Sample]
    log: str
    lines: list[dict[str, Any]]


@pytest.fixture(scope="module")
def done(kafka: Kafka, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    topics = create_topics(
        kafka.bootstrap_servers, f"kinds-{free_port()}", partitions=2, settings={"max.message.bytes": str(LIMIT)}
    )
    s3.create_bucket(BUCKET)
    put_images(s3)
    with S3Proxy(s3) as proxy, OutcomeReader(kafka.bootstrap_servers, topics.outcomes) as reader:
        proxy.fail(Fault.DENIED, "denied.jpg")
        proxy.fail(Fault.ERROR, "stuck.jpg")
        proxy.fail(Fault.CUT, "cut.jpg")
        settings = settings_for(topics, s3, BUCKET, **SETTINGS, s3={"endpoint_url": proxy.endpoint_url})
        with ConsumerProcess(tmp_path_factory.mktemp("kinds"), settings, environment=s3.environment) as process:
            sources = publish(topics, KINDS)
            others = topics.publish([image()] * NEIGHBOURS)
            wait_until(
                lambda: proxy.asked("late.jpg") > 0, within=60, what=lambda: f"late.jpg is missed\n{process.log}"
            )
            s3.put(BUCKET, "late.jpg", picture(320, 240))
            seen = reader.read_count(len(KINDS) + len(others), within=60)
            wait_until(partial(has_counted, process, len(seen)), within=10, what="all are counted")
            metrics = process.metrics()
            process.terminate()
            assert process.wait(20) == 0
    assert judge([*sources.values(), *others], seen).is_clean
    outcomes = {outcome.source: outcome for outcome in seen}
    yield Done(
        sources,
        {name: outcomes[source] for name, source in sources.items()},
        [outcomes[source] for source in others],
        {key: proxy.asked(key) for key in ("never-asked.jpg", "missing.jpg", "denied.jpg")},
        metrics,
        process.log,
        process.log_lines,
    )
    delete_topics(topics)


def put_images(s3: S3Server) -> None:
    plain = picture(320, 240)
    for key in ("plain.jpg", "denied.jpg", "stuck.jpg", "cut.jpg"):
        s3.put(BUCKET, key, plain)
    s3.put(BUCKET, "red.jpg", red_picture(48))
    s3.put(BUCKET, "heavy.jpg", plain + bytes(100_000))
    s3.put(BUCKET, "wide.jpg", bytes(cv2.imencode(".jpg", np.zeros((600, 2000, 3), np.uint8))[1]))
    s3.put(BUCKET, "a.gif", b"GIF89a" + bytes(100))
    s3.put(BUCKET, "torn.jpg", plain[:100])


def publish(topics: Topics, kinds: dict[str, Kind]) -> dict[str, Source]:
    """Publish each with its own key, headers and age; the partitions take turns."""
    producer = Producer({"bootstrap.servers": topics.bootstrap_servers, "batch.num.messages": 1})  # LIMIT is a batch's
    sources: dict[str, Source] = {}

    def note(error: object, record: Any, *, name: str) -> None:
        assert error is None, f"{name}: {error}"
        sources[name] = Source(record.topic(), record.partition(), record.offset())

    for number, (name, kind) in enumerate(kinds.items()):
        producer.produce(
            topics.jobs,
            kind.value,
            kind.key,
            partition=number % topics.partitions,
            headers=list(kind.headers),
            timestamp=round((time.time() - kind.age) * 1000),
            on_delivery=partial(note, name=name),
        )
    assert producer.flush(20) == 0
    return sources


def has_counted(process: ConsumerProcess, jobs: int) -> bool:
    return process.metric("inspection_jobs_total") == jobs


def body(outcome: Outcome) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(outcome.value or b"")
    return result


def test_each_kind_becomes_what_it_should(done: Done) -> None:
    assert {name: done.outcomes[name].reason for name in KINDS} == {name: kind.reason for name, kind in KINDS.items()}


def test_a_poisoned_image_leaves_its_neighbours_alone(done: Done) -> None:
    plain = body(done.outcomes["plain"])["detections"]
    assert len(plain) == 1
    assert [outcome.reason for outcome in done.neighbours] == [None] * len(done.neighbours)
    assert all(body(outcome)["detections"] == plain for outcome in done.neighbours)


@pytest.mark.parametrize("name", DEAD)
def test_a_dead_letter_holds_the_job_byte_for_byte_and_says_why(done: Done, name: str) -> None:
    kind, outcome, source = KINDS[name], done.outcomes[name], done.sources[name]
    assert (outcome.key, outcome.value) == (kind.key, kind.value)
    assert outcome.headers[: len(kind.headers)] == kind.headers
    assert outcome.header("__connect.errors.exception.message")
    assert outcome.header("inspection-error-stage") == outcome.header("__connect.errors.stage")
    assert outcome.header("inspection-error-retryable") in ("true", "false")
    assert int(outcome.header("inspection-error-attempts") or 0) >= 1
    assert outcome.header("inspection-job-id") == f"{source.topic}/{source.partition}/{source.offset}"


def test_a_result_has_the_key_the_trace_and_the_id_of_its_job(done: Done) -> None:
    for name in KINDS.keys() - DEAD:
        kind, outcome = KINDS[name], done.outcomes[name]
        trace = tuple(header for header in kind.headers if header in TRACE)
        own = (("content-type", b"application/json"), ("inspection-job-id", body(outcome)["job_id"].encode()))
        assert (outcome.key, outcome.headers) == (kind.key, own + trace)


def test_the_id_is_the_fields_else_the_headers_else_the_coordinates(done: Done) -> None:
    ids = {name: body(done.outcomes[name])["job_id"] for name in ("id in the field", "id in the header", "plain")}
    at = done.sources["plain"]
    coordinates = f"{at.topic}/{at.partition}/{at.offset}"
    assert list(ids.values()) == ["mine", "header's", coordinates]


def test_metadata_travels_unchanged(done: Done) -> None:
    assert METADATA in (done.outcomes["metadata"].value or b"")


def test_parameters_of_a_job_rule_its_detections(done: Done) -> None:
    bodies = {name: body(done.outcomes[name]) for name in ("plain", "sure", "first classes", "last classes")}
    assert bodies["plain"]["parameters"] == {"confidence": 0.25, "iou": 0.7, "max_detections": 300, "classes": None}
    assert bodies["sure"]["parameters"]["confidence"] == 1.0
    assert bodies["sure"]["detections"] == []
    by_class = [bodies["first classes"]["detections"], bodies["last classes"]["detections"]]
    assert sorted(by_class) == [[], bodies["plain"]["detections"]]


def test_a_missing_image_is_waited_for_only_while_its_job_is_young(done: Done) -> None:
    assert body(done.outcomes["late"])["image"]["key"] == "late.jpg"
    assert done.asked["missing.jpg"] == 1


def test_an_expired_job_is_not_fetched(done: Done) -> None:
    assert done.asked["never-asked.jpg"] == 0


def test_every_metric_is_there_and_its_labels_are_bounded(done: Done) -> None:
    for name, labels in METRICS.items():
        samples = [sample for sample in done.metrics if sample.name == name]
        assert samples, name
        for label, allowed in labels.items():
            assert {sample.labels[label] for sample in samples} <= allowed, name
    dead = {
        s.labels["reason"]: s.value for s in done.metrics if s.name == "inspection_jobs_total" and s.labels["reason"]
    }
    assert dead == {reason: [kind.reason for kind in KINDS.values()].count(reason) for reason in dead}
    stages = {s.labels["stage"] for s in done.metrics if s.name == "inspection_stage_seconds_count"}
    assert stages == set(STAGES)


def test_the_log_is_json_and_has_no_line_for_each_job(done: Done) -> None:
    assert len(done.lines) == len(done.log.splitlines())
    assert all({"level", "logger", "message", "time"} <= line.keys() for line in done.lines)
    assert [line for line in done.lines if line["level"] == "ERROR" or "job_id" in line] == []
