"""Does a consumer process tell a collector of its jobs, and do its jobs not care whether the collector listens?"""

import time

import pytest

from tests.conftest import CreateTopics, StartConsumer
from tests.rigs.collector import Collector, SpanSeen
from tests.rigs.jobs import job, picture, settings_for
from tests.rigs.outcomes import OutcomeReader
from tests.rigs.s3 import S3Server

pytestmark = [pytest.mark.kafka, pytest.mark.s3]

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADERS = {"traceparent": f"00-{TRACE}-{PARENT}-01".encode(), "tracestate": b"vendor=1"}
REFUSED = 400  # which the SDK does not try again
NOISE = "cannot be sent"
SPANS = 10  # of a result, of a job whose image is missing, and of a record that is no job


def test_jobs_are_traced_from_record_to_commit_and_go_on_without_a_collector(
    topics: CreateTopics, s3: S3Server, bucket: str, start_consumer: StartConsumer
) -> None:
    ours = topics(partitions=1)
    s3.put(bucket, "part.jpg", picture(64, 64))
    with Collector() as collector, OutcomeReader(ours.bootstrap_servers, ours.outcomes) as reader:
        collector.status = REFUSED
        environment = {
            **s3.environment,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_SERVICE_NAME": "line-3",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        settings = settings_for(ours, s3, bucket, images={"not_found_grace": 0}, delivery={"interval": 0.05})
        process = start_consumer(settings, environment=environment)
        ours.publish([job(bucket, "part.jpg")] * 3)
        reader.read_count(3, within=60)
        collector.wait_for(lambda: NOISE in process.log, "the process says that spans cannot be sent")

        collector.status = 200
        began = time.time_ns()
        ours.publish([job(bucket, "part.jpg"), job(bucket, "missing.jpg"), b"{broken"], headers=HEADERS)
        outcomes = [outcome for outcome in reader.read_count(6, within=60) if outcome.source.offset >= 3]
        collector.wait_for(lambda: len(traced(collector)) == SPANS, "the spans of three jobs")
        process.terminate()
        assert process.wait(20) == 0

    assert [outcome.header("traceparent") for outcome in outcomes] == [HEADERS["traceparent"].decode()] * 3
    assert [outcome.header("tracestate") for outcome in outcomes] == ["vendor=1"] * 3
    assert process.log.count(NOISE) == 1
    found = traced(collector)
    jobs = {span.attributes["messaging.kafka.offset"]: span for span in found if span.parent == PARENT}
    assert [jobs[offset].name for offset in (3, 4, 5)] == [f"process {ours.jobs}"] * 3
    assert [jobs[offset].attributes.get("error.type") for offset in (3, 4, 5)] == [
        None,
        "image_not_found",
        "schema_invalid",
    ]
    stages = {offset: [span for span in found if span.parent == parent.id] for offset, parent in jobs.items()}
    assert {offset: sorted(span.name for span in below) for offset, below in stages.items()} == {
        3: ["decode", "deliver", "detect", "fetch"],
        4: ["deliver", "fetch"],
        5: ["deliver"],
    }
    assert {span.name for span in stages[4] if span.error is not None} == {"fetch"}
    now = time.time_ns()
    assert all(began < span.start <= span.end < now for span in found)
    assert {span.service["service.name"] for span in found} == {"line-3"}


def traced(collector: Collector) -> list[SpanSeen]:
    """The spans of the jobs that have a producer's trace."""
    return [span for span in collector.spans if span.trace == TRACE]
