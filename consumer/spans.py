"""Which OpenTelemetry spans does a job become?

    process {topic}     from the record taken in hand to its outcome committed; child of the job's own `traceparent`
    ├── fetch
    ├── decode
    ├── detect          waiting for a place in a batch included
    └── deliver         from the outcome finished to its commit

Built after the fact, with the times that the inspector measured anyway.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from consumer import __version__
from consumer.errors import SettingsError
from consumer.inspector import Claim, Progress
from consumer.ledger import Entry
from consumer.messages import TRACE_HEADERS, DeadLetter, Job, Message, Outcome, Record, Result

logger = logging.getLogger(__name__)

Head = Entry[int, Message]

SERVICE = "inspection-consumer"
CLOSING_TIME = 2.0  # seconds that the last spans get; what a collector has not taken by then is lost
_STAGES = ("fetch", "decode", "detect")
_ABANDONED = "abandoned"


@contextlib.contextmanager
def open_spans(group_id: str, endpoint: str) -> Iterator["Spans"]:
    """Spans that leave in the background, over a queue of bounded length (`OTEL_BSP_*`); leaving the `with` sends the
    rest. Everything else is as the `OTEL_*` variables say; raises SettingsError for one that makes no sense."""
    try:
        exporter = _CalmExporter(OTLPSpanExporter(), endpoint)
        processor = BatchSpanProcessor(exporter)
        provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
    except ValueError as error:
        raise SettingsError(f"OTEL_* variables: {error}") from error
    provider.add_span_processor(processor)
    spans = Spans(provider.get_tracer("consumer", __version__), group_id)
    try:
        yield spans
    finally:
        spans.close()
        closing = threading.Thread(target=processor.shutdown, name="spans", daemon=True)
        closing.start()
        closing.join(CLOSING_TIME)


def _resource() -> Resource:
    """What the environment says of this process, and our name where it does not say any."""
    said = Resource.create()
    if not str(said.attributes[SERVICE_NAME]).startswith("unknown_service"):
        return Resource({SERVICE_VERSION: __version__}).merge(said)
    return Resource({SERVICE_VERSION: __version__}).merge(said).merge(Resource({SERVICE_NAME: SERVICE}))


class Spans:
    """Keeps the open span of each job from the end of its inspection to the commit. Implements tracing.Tracing."""

    def __init__(self, tracer: Tracer, group_id: str) -> None:
        self._tracer = tracer
        self._group_id = group_id
        self._propagator = TraceContextTextMapPropagator()
        self._open: dict[Claim, Span] = {}
        self._lock = threading.Lock()

    def inspected(self, job: Job, claim: Claim, progress: Progress) -> None:
        """The stages are told, the job's span stays open. A stage that began and did not end is the one that failed."""
        span = self._begin(job.record, job.job_id, claim.opened_at)
        if span.is_recording():
            self._tell_stages(span, job, progress)
        with self._lock:  # else a claim that is dropped at this moment would stay for ever
            if not claim.is_dropped:
                self._open[claim] = span
                return
        _abandon(span)

    def delivered(self, entry: Head) -> None:
        if not entry.is_finished:
            self.dropped()
            return
        clock = _wall_clock()
        now = time.monotonic()
        for place, message in zip(entry.places, entry.outcomes, strict=True):
            outcome = message.outcome
            span = self._open.pop(place, None) or self._begin(*_identity(outcome), entry.opened_at)
            if span.is_recording():
                self._child("deliver", span, clock(entry.finished_at)).end(clock(now))
                _tell_outcome(span, outcome)
            span.end(clock(now))

    def dropped(self) -> None:
        with self._lock:
            dropped = [claim for claim in self._open if claim.is_dropped]
            spans = [self._open.pop(claim) for claim in dropped]
        for span in spans:
            _abandon(span)

    def close(self) -> None:
        """What is not delivered by now never will be, by this process."""
        with self._lock:
            spans = list(self._open.values())
            self._open.clear()
        for span in spans:
            _abandon(span)

    # --- one span -------------------------------------------------------------------------------------------------

    def _begin(self, record: Record, job_id: str, opened_at: float) -> Span:
        """By OpenTelemetry's semantic conventions for messaging and Kafka; `inspection.*` is our own."""
        return self._tracer.start_span(
            f"process {record.topic}",
            context=self._parent(record),
            kind=SpanKind.CONSUMER,
            start_time=_wall_clock()(opened_at),
            attributes={
                "messaging.system": "kafka",
                "messaging.operation.type": "process",
                "messaging.operation.name": "process",
                "messaging.destination.name": record.topic,
                "messaging.destination.partition.id": str(record.partition),
                "messaging.consumer.group.name": self._group_id,
                "messaging.kafka.offset": record.offset,
                "messaging.message.id": job_id,
                "inspection.job_id": job_id,
            },
        )

    def _parent(self, record: Record) -> Context:
        carrier = {name: (record.header(name) or b"").decode("ascii", "replace") for name in TRACE_HEADERS}
        return self._propagator.extract(carrier, Context())

    def _tell_stages(self, span: Span, job: Job, progress: Progress) -> None:
        clock = _wall_clock()
        span.set_attribute("inspection.image", job.image.uri)
        span.set_attribute("inspection.fetch_attempts", progress.attempts)
        for stage in _STAGES:
            if (began := progress.began.get(stage)) is None:
                continue
            child = self._child(stage, span, clock(began))
            seconds = progress.seconds.get(stage)
            if seconds is None:
                child.set_status(StatusCode.ERROR)
            child.end(clock(time.monotonic() if seconds is None else began + seconds))

    def _child(self, stage: str, span: Span, at: int) -> Span:
        return self._tracer.start_span(stage, context=set_span_in_context(span, Context()), start_time=at)


def _identity(outcome: Outcome) -> tuple[Record, str]:
    match outcome:
        case Result(job=job):
            return job.record, job.job_id
        case DeadLetter(record=record, job_id=job_id):
            return record, job_id


def _tell_outcome(span: Span, outcome: Outcome) -> None:
    match outcome:
        case Result(body=body):
            span.set_attribute("inspection.detections", len(body.detections))
        case DeadLetter(reason=reason, stage=stage, message=message):
            span.set_attribute("error.type", reason)
            span.set_attribute("inspection.error_stage", stage)
            span.set_status(Status(StatusCode.ERROR, f"{reason}: {message}"))


def _abandon(span: Span) -> None:
    span.set_attribute("error.type", _ABANDONED)
    span.set_status(Status(StatusCode.ERROR, f"{_ABANDONED}: another owner of the partition does the job"))
    span.end()


def _wall_clock() -> Callable[[float], int]:
    """From moments of `time.monotonic` to nanoseconds since the epoch, as spans have them."""
    offset = time.time_ns() - time.monotonic_ns()
    return lambda moment: int(moment * 1e9) + offset


class _CalmExporter(SpanExporter):
    """Says once that spans cannot be sent, and once that they can again; the SDK has a line for every attempt."""

    def __init__(self, exporter: SpanExporter, endpoint: str) -> None:
        self._exporter = exporter
        self._endpoint = endpoint
        self._is_failing = False
        for name in ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal"):
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception:  # noqa: BLE001  # whatever it is, it is about spans, not about jobs
            result = SpanExportResult.FAILURE
        is_failing = result is not SpanExportResult.SUCCESS
        if is_failing != self._is_failing:
            self._is_failing = is_failing
            state = "cannot be sent, jobs go on without them" if is_failing else "are sent again"
            logger.warning("spans %s", state, extra={"endpoint": self._endpoint})
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
