"""Does a collector get the spans of each job, right in time and family, and does nothing else suffer for it?"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from consumer import spans
from consumer.errors import SettingsError
from consumer.inspector import Progress
from consumer.ledger import Entry, Ledger, Place
from consumer.messages import Headers, Job, Message, Outcome, Record, Result, encode_dead_letter, encode_result
from consumer.settings import Settings
from consumer.spans import Spans
from consumer.tracing import Tracing, open_tracing
from tests.models import ROOT
from tests.rigs.collector import Collector, SpanSeen
from tests.unit.samples import a_letter, a_record, a_result

SETTINGS = Settings.model_validate({"images": {"allowed_buckets": ["*"]}})
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CONSUMER, INTERNAL = 5, 1  # span kinds on the wire
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def trace_headers(flags: str = "01") -> Headers:
    return (("traceparent", f"00-{TRACE}-{PARENT}-{flags}".encode()), ("tracestate", b"vendor=1"))


class Rig:
    """The life of jobs as runner and inspector tell it, on a real ledger."""

    def __init__(self, tracing: Tracing) -> None:
        assert isinstance(tracing, Spans)
        self.tracing = tracing
        self.ledger: Ledger[int, Message] = Ledger(time.monotonic)
        self.ledger.assign(3)

    def open(self, record: Record, jobs: int = 1) -> Entry[int, Message]:
        return self.ledger.open(3, record.offset, jobs)

    def inspect(self, place: Place[int, Message], outcome: Outcome, *, ended: tuple[str, ...] = ()) -> None:
        """All stages of `ended`, and the beginning of the one behind them."""
        progress = Progress({"queue": place.opened_at})
        progress.attempts = 2
        for stage in ("fetch", "decode", "detect"):
            progress.begin(stage)
            if stage not in ended:
                break
            progress.end(stage)
        self.tracing.inspected(job_of(outcome), place, progress)
        place.finish(encode(outcome))

    @property
    def is_empty(self) -> bool:
        """Whether no span is kept for anything."""
        return not self.tracing._open

    def deliver(self, entry: Entry[int, Message]) -> None:
        for removed in self.ledger.remove_below(3, entry.offset + 1):
            self.tracing.delivered(removed)


def job_of(outcome: Outcome) -> Job:
    return outcome.job if isinstance(outcome, Result) else a_result(outcome.record).job


def encode(outcome: Outcome) -> Message:
    return encode_result(outcome) if isinstance(outcome, Result) else encode_dead_letter(outcome)


ALL = ("fetch", "decode", "detect")


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture
def seen(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`seen(tell)`: the spans by name that leave while `tell(rig)` runs, and when tracing is closed after it."""
    monkeypatch.setenv(ENDPOINT, collector.endpoint)

    def run(tell: Any) -> list[SpanSeen]:
        with open_tracing(SETTINGS) as tracing:
            assert tracing is not None
            tell(Rig(tracing))
        return collector.spans

    return run


def by_name(found: list[SpanSeen]) -> dict[str, SpanSeen]:
    assert len({span.name for span in found}) == len(found), [span.name for span in found]
    return {span.name.partition(" ")[0]: span for span in found}


def test_a_job_is_one_span_of_its_producers_trace_with_a_child_for_each_stage(seen: Any) -> None:
    record = a_record(headers=trace_headers())
    before = time.time_ns()

    def tell(rig: Rig) -> None:
        entry = rig.open(record)
        rig.inspect(entry.places[0], a_result(record, detections=3), ended=ALL)
        rig.deliver(entry)

    found = by_name(seen(tell))
    job, stages = found["process"], [found[name] for name in (*ALL, "deliver")]

    assert len(found) == 5
    assert (job.name, job.kind, job.trace, job.parent) == ("process inspection.jobs", CONSUMER, TRACE, PARENT)
    assert {(span.kind, span.trace, span.parent) for span in stages} == {(INTERNAL, TRACE, job.id)}
    moments = [before, job.start, *(moment for span in stages for moment in (span.start, span.end)), job.end]
    slack = 2_000_000  # two clocks are read one after the other
    assert all(later - earlier > -slack for earlier, later in zip(moments, [*moments[1:], time.time_ns()], strict=True))
    assert job.attributes == {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": "inspection.jobs",
        "messaging.destination.partition.id": "3",
        "messaging.consumer.group.name": "inspection",
        "messaging.kafka.offset": 1041,
        "messaging.message.id": "inspection.jobs/3/1041",
        "inspection.job_id": "inspection.jobs/3/1041",
        "inspection.image": "s3://parts/line-3/0001.jpg",
        "inspection.fetch_attempts": 2,
        "inspection.detections": 3,
    }
    assert {span.error for span in found.values()} == {None}
    assert job.service["service.name"] == "inspection-consumer"


def test_a_dead_letter_is_an_error_with_its_reason_at_the_stage_that_failed(seen: Any) -> None:
    def tell(rig: Rig) -> None:
        entry = rig.open(a_record())
        rig.inspect(entry.places[0], a_letter(reason="image_undecodable", stage="decode"), ended=("fetch",))
        rig.deliver(entry)

    found = by_name(seen(tell))

    assert found.keys() == {"process", "fetch", "decode", "deliver"}
    assert {name: span.error for name, span in found.items() if span.error is not None} == {
        "decode": "",
        "process": "image_undecodable: s3://parts/x.jpg is not there",
    }
    assert found["process"].attributes["error.type"] == "image_undecodable"
    assert found["process"].parent == ""


def test_a_record_that_is_no_job_has_a_span_too(seen: Any) -> None:
    def tell(rig: Rig) -> None:
        entry = rig.open(a_record(headers=trace_headers()))
        entry.finish(0, encode(a_letter(a_record(headers=trace_headers()), reason="schema_invalid", stage="intake")))
        rig.deliver(entry)

    found = by_name(seen(tell))

    assert (set(found), found["process"].parent) == ({"process", "deliver"}, PARENT)
    assert found["process"].attributes["error.type"] == "schema_invalid"


def test_each_job_of_a_record_has_its_own_span(seen: Any) -> None:
    def tell(rig: Rig) -> None:
        entry = rig.open(a_record(), jobs=2)
        rig.inspect(entry.places[1], a_letter(job_id="two"), ended=())
        rig.inspect(entry.places[0], a_result(), ended=ALL)
        rig.deliver(entry)

    jobs = [span for span in seen(tell) if span.kind == CONSUMER]

    assert [span.attributes.get("error.type") for span in jobs] == [None, "image_not_found"]
    assert jobs[0].trace != jobs[1].trace


def test_what_is_taken_away_ends_as_abandoned_and_is_not_delivered(seen: Any) -> None:
    def tell(rig: Rig) -> None:
        early, late, waiting = (rig.open(a_record(offset=offset)) for offset in (1, 2, 3))
        rig.inspect(early.places[0], a_result(), ended=ALL)
        rig.ledger.drop(3)
        rig.tracing.dropped()
        rig.inspect(late.places[0], a_result(), ended=ALL)
        assert not waiting.is_finished
        assert rig.is_empty

    found = seen(tell)

    assert [span.attributes["error.type"] for span in found if span.kind == CONSUMER] == ["abandoned"] * 2
    assert "deliver" not in {span.name for span in found}


def test_what_somebody_else_committed_or_nobody_did_is_abandoned(seen: Any) -> None:
    def tell(rig: Rig) -> None:
        elsewhere, undelivered = rig.open(a_record(offset=1), jobs=2), rig.open(a_record(offset=2))
        rig.inspect(elsewhere.places[0], a_result(), ended=ALL)
        rig.deliver(elsewhere)  # one of its two jobs is unfinished
        assert rig.is_empty
        rig.inspect(undelivered.places[0], a_result(), ended=ALL)

    jobs = [span for span in seen(tell) if span.kind == CONSUMER]

    assert [span.attributes["error.type"] for span in jobs] == ["abandoned"] * 2


def test_a_trace_that_its_producer_does_not_sample_is_left_alone(seen: Any) -> None:
    def tell(rig: Rig) -> None:
        for offset, flags in ((1, "00"), (2, "01")):
            record = a_record(offset=offset, headers=trace_headers(flags))
            entry = rig.open(record)
            rig.inspect(entry.places[0], a_result(record), ended=ALL)
            rig.deliver(entry)

    assert {span.attributes.get("messaging.kafka.offset") for span in seen(tell)} == {None, 2}


@pytest.mark.parametrize("value", [b"", b"garbage", b"\xff\xfe", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01", None])
def test_a_header_that_is_no_trace_begins_a_new_one(seen: Any, value: bytes | None) -> None:
    def tell(rig: Rig) -> None:
        record = a_record(headers=(("traceparent", value),))
        entry = rig.open(record)
        rig.inspect(entry.places[0], a_result(record), ended=ALL)
        rig.deliver(entry)

    assert by_name(seen(tell))["process"].parent == ""


def test_the_standard_variables_rule(seen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "line-3")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.version=9")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    assert seen(one_job) == []

    monkeypatch.delenv("OTEL_TRACES_SAMPLER")
    service = seen(one_job)[0].service

    assert (service["service.name"], service["service.version"]) == ("line-3", "9")
    assert service["deployment.environment.name"] == "test"


def one_job(rig: Rig) -> None:
    entry = rig.open(a_record())
    rig.inspect(entry.places[0], a_result(), ended=ALL)
    rig.deliver(entry)


# --- a collector in trouble ---------------------------------------------------------------------------------------


def test_a_collector_that_refuses_is_said_once_and_its_return_too(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(ENDPOINT, collector.endpoint)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    collector.status = 400
    with open_tracing(SETTINGS) as tracing, ExitStack() as stack:
        assert tracing is not None
        rig = Rig(tracing)
        stack.callback(setattr, collector, "status", 200)
        for offset in range(3):
            entry = rig.open(replace(a_record(), offset=offset))
            rig.inspect(entry.places[0], a_result(), ended=ALL)
            rig.deliver(entry)
            collector.wait_for(lambda least=offset + 1: collector.requests >= least, "a request")  # type: ignore[misc]
        collector.status = 200
        entry = rig.open(replace(a_record(), offset=9))
        rig.inspect(entry.places[0], a_result(), ended=ALL)
        rig.deliver(entry)

    said = [record.getMessage() for record in caplog.records]
    assert said == ["spans cannot be sent, jobs go on without them", "spans are sent again"]


@pytest.mark.timeout(15)
def test_a_collector_that_does_not_answer_does_not_hold_up_the_end(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENDPOINT, collector.endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
    monkeypatch.setattr(spans, "CLOSING_TIME", 0.2)
    collector.answering.clear()

    with open_tracing(SETTINGS) as tracing:
        assert tracing is not None
        one_job(Rig(tracing))

    assert collector.spans == []


# --- whether at all -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {ENDPOINT: ""},
        {ENDPOINT: "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {ENDPOINT: "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_without_a_collector_nothing_is_traced(environment: dict[str, str]) -> None:
    with open_tracing(SETTINGS, environment) as tracing:
        assert tracing is None


def test_without_a_collector_opentelemetry_is_not_even_imported() -> None:
    program = (
        "import sys, consumer.app, consumer.tracing as tracing, consumer.settings as settings\n"
        "loaded = settings.Settings(images={'allowed_buckets': ['*']})\n"
        "with tracing.open_tracing(loaded, {}): print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert "consumer.tracing" in done.stdout.split()
    assert [name for name in done.stdout.split() if name.startswith("opentelemetry")] == []


@pytest.mark.parametrize(
    ("environment", "fact"),
    [
        ({ENDPOINT: "localhost:4318"}, f"{ENDPOINT}: expected http://"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "x", ENDPOINT: "http://y"}, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: exp"),
        ({ENDPOINT: "http://x", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "only http/protobuf is spoken, not 'grpc'"),
    ],
)
def test_what_cannot_be_traced_to_stops_the_process(environment: dict[str, str], fact: str) -> None:
    with pytest.raises(SettingsError, match=fact), open_tracing(SETTINGS, environment):
        pass


def test_an_endpoint_without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "consumer.spans", None)

    with (
        pytest.raises(SettingsError, match=r"pip install '.\[otel\]'"),
        open_tracing(SETTINGS, {ENDPOINT: "http://x"}),
    ):
        pass


def test_a_variable_that_makes_no_sense_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")

    with pytest.raises(SettingsError, match="OTEL_"), open_tracing(SETTINGS, {ENDPOINT: "http://x"}):
        pass
