"""What travels on the wire: jobs in, results and dead letters out.

The JSON Schemas and the AsyncAPI document in `schemas/` are generated from these types (schemas.py).
Unknown fields are ignored (a newer producer may send more), missing and wrong ones are refused with their path.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from consumer.errors import RETRYABLE, Reason, Stage

JOB_ID_HEADER = "inspection-job-id"
JOB_INDEX_HEADER = "inspection-job-index"
TRACE_HEADERS = ("traceparent", "tracestate")

Headers = tuple[tuple[str, bytes | None], ...]

# In place of a record's own headers, when a name among them is not UTF-8: they cannot be read, nor kept in its dead
# letter. A redrive takes it off again, as it does with all that begins like this.
UNREADABLE_HEADERS: Headers = (("inspection-original-headers", b"unreadable"),)

Fraction = Annotated[float, Meta(ge=0, le=1)]
NonEmpty = Annotated[str, Meta(min_length=1)]


# --- Kafka's side ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """One record as Kafka gave it; key, value and headers are kept byte for byte for a dead letter."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def coordinates(self) -> str:
        """Where it lies: topic/partition/offset."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    def header(self, name: str) -> bytes | None:
        """The last header of that name (Kafka's rule for repeated names), or None."""
        for header_name, value in reversed(self.headers):
            if header_name == name:
                return value
        return None


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be produced for one outcome; the partition follows from the input's. With a `reason` it is a dead
    letter."""

    outcome: "Outcome"
    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def reason(self) -> Reason | None:
        return self.outcome.reason if isinstance(self.outcome, DeadLetter) else None

    @property
    def size(self) -> int:
        """Bytes that a topic's `max.message.bytes` is held against, before compression (batch overhead included)."""
        return size_of(self.value, self.key, self.headers)


def size_of(value: bytes | None, key: bytes | None, headers: Headers) -> int:
    """See `Message.size`."""
    named = sum(len(name.encode()) + len(content or b"") + 10 for name, content in headers)
    return len(value or b"") + len(key or b"") + named + 128


# --- jobs -----------------------------------------------------------------------------------------------------


class ImageReference(Struct, frozen=True):
    """Where the image lies; never the image itself."""

    bucket: NonEmpty
    key: NonEmpty
    version_id: str | None = None
    etag: str | None = None

    @property
    def uri(self) -> str:
        """Without a bucket, which no message may say, the key is the path of a file on this machine."""
        return f"s3://{self.bucket}/{self.key}" if self.bucket else self.key


class JobParameters(Struct, frozen=True):
    """What one job may ask for instead of the `model` section's defaults."""

    confidence: Fraction | None = None
    iou: Fraction | None = None
    max_detections: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    classes: tuple[int | str, ...] | None = None


class JobMessage(Struct, frozen=True):
    """A native job as it stands on the jobs topic."""

    schema: Literal["inspection.job/1"]
    image: ImageReference | str
    job_id: NonEmpty | None = None
    parameters: JobParameters | None = None
    metadata: Raw | UnsetType = UNSET


class Source(Struct, frozen=True):
    """Who a job is: its place in the jobs topic, and its index within a record of several jobs."""

    topic: str
    partition: int
    offset: int
    index: int
    timestamp_ms: int

    @property
    def coordinates(self) -> str:
        """Where the job's record lies: topic/partition/offset."""
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True)
class Job:
    """One image to inspect, with the record that asked for it."""

    record: Record
    job_id: str
    image: ImageReference
    parameters: JobParameters = JobParameters()
    metadata: Raw | UnsetType = UNSET
    index: int = 0
    siblings: int = 1  # how many jobs the record holds

    @property
    def source(self) -> Source:
        record = self.record
        return Source(record.topic, record.partition, record.offset, self.index, record.timestamp_ms)

    @property
    def index_among_siblings(self) -> int | None:
        """Which job of its record it is; None where that holds no other."""
        return self.index if self.siblings > 1 else None


# --- results --------------------------------------------------------------------------------------------------


class Parameters(Struct, frozen=True):
    """The values that really ruled one detection; `classes` are sorted class ids, null means all."""

    confidence: float
    iou: float
    max_detections: int
    classes: tuple[int, ...] | None = None


class Detection(Struct, frozen=True):
    """One object: `box` is x1, y1, x2, y2 in absolute pixels of the oriented original image, 2 decimals."""

    class_id: int
    class_name: str
    confidence: float
    box: tuple[float, float, float, float]


class InspectedImage(Struct, frozen=True):
    """Which bytes were inspected: `sha256` and `bytes` of the object, width and height after EXIF orientation."""

    bucket: str
    key: str
    version_id: str | None
    etag: str | None
    sha256: str
    bytes: int
    width: int
    height: int


class ModelInfo(Struct, frozen=True):
    """Which weights ran, and how: `precision` is read back from the engine, `image_size` is the longer side; `shapes`
    and `decode` are the settings of these names."""

    name: str
    sha256: str
    task: str
    engine: str
    precision: str
    image_size: int
    shapes: str = "square"
    decode: str = "exact"


class Timings(Struct, frozen=True):
    """Milliseconds: waiting for a worker, fetching (all attempts), decoding, detecting (waiting for a place in a batch
    included), and all of it, which has the waiting for a place to decode in it too."""

    queue: float
    fetch: float
    decode: float
    detect: float
    total: float


class Worker(Struct, frozen=True):
    """The process that did it."""

    host: str
    version: str


class ResultMessage(Struct, frozen=True, omit_defaults=True):
    """The outcome of a job whose image was inspected; an empty `detections` list is a result too."""

    schema: Literal["inspection.result/1"]
    job_id: str
    image: InspectedImage
    model: ModelInfo
    detections: tuple[Detection, ...]
    parameters: Parameters
    source: Source
    result_id: str
    timings_ms: Timings
    worker: Worker
    metadata: Raw | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class Result:
    """A finished inspection and the record that asked for it."""

    job: Job
    body: ResultMessage


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A job that will not be inspected as it is, with the full original and the reason."""

    record: Record
    job_id: str
    reason: Reason
    stage: Stage
    message: str
    error: str = "Rejected"
    attempts: int = 1
    index: int | None = None  # set for a record of several jobs
    has_value: bool = True  # False once the broker refused it with the job's value


Outcome = Result | DeadLetter


def result_id(job_id: str, image_sha256: str, model_sha256: str, parameters: Parameters) -> str:
    """SHA-256 (hex) of the canonical JSON `[job_id, image, model, parameters]`: keys sorted, no white space, UTF-8."""
    canonical = msgspec.json.encode([job_id, image_sha256, model_sha256, parameters], order="sorted")
    return hashlib.sha256(canonical).hexdigest()


_encoder = msgspec.json.Encoder()


def encode_result(result: Result) -> Message:
    """The results topic's record; its key is the job's key."""
    record = result.job.record
    headers: list[tuple[str, bytes | None]] = [
        ("content-type", b"application/json"),
        (JOB_ID_HEADER, result.job.job_id.encode()),
        *_copied(record.headers, TRACE_HEADERS),
    ]
    return Message(result, record.key, _encoder.encode(result.body), tuple(headers))


def encode_dead_letter(letter: DeadLetter, *, max_bytes: int | None = None) -> Message:
    """The dead-letters topic's record: key, value and headers of the job as they were, plus the error's headers.

    Without its value, and saying so, if it would pass `max_bytes` or was refused: a job is never left without an
    outcome.
    """
    record = letter.record
    headers = (*record.headers, *_missing_content_type(letter), *_error_headers(letter, beside=record.headers))
    message = Message(letter, record.key, record.value, headers)
    if letter.has_value and (max_bytes is None or message.size <= max_bytes):
        return message
    value = record.value or b""
    omitted: Headers = (
        ("inspection-original-omitted", b"true"),
        ("inspection-original-bytes", str(len(value)).encode()),
        ("inspection-original-sha256", hashlib.sha256(value).hexdigest().encode()),
    )
    without_value = Message(letter, record.key, None, (*headers, *omitted))
    if max_bytes is None or without_value.size <= max_bytes:
        return without_value
    # Headers or key alone fill the topic's limit: the coordinates still lead to the original.
    return Message(letter, None, None, (*_error_headers(letter, beside=()), *omitted))


def dead_letter_of(outcome: Outcome, reason: Reason, stage: Stage, message: str) -> DeadLetter:
    """The dead letter that takes the place of an outcome which cannot be delivered: for a result one with this reason,
    for a dead letter the same without its value."""
    match outcome:
        case Result(job=job):
            return DeadLetter(job.record, job.job_id, reason, stage, message, index=job.index_among_siblings)
        case DeadLetter():
            return replace(outcome, has_value=False)


def encode(outcome: Outcome, *, max_result_bytes: int, max_dead_letter_bytes: int) -> Message:
    """An outcome as it will be produced; a result over its topic's limit becomes a `result_too_large` dead letter."""
    if isinstance(outcome, Result):
        message = encode_result(outcome)
        if message.size <= max_result_bytes:
            return message
        fact = f"the result has {message.size} bytes, limit {max_result_bytes} (max.message.bytes of the results topic)"
        outcome = dead_letter_of(outcome, "result_too_large", "deliver", fact)
    return encode_dead_letter(outcome, max_bytes=max_dead_letter_bytes)


def _error_headers(letter: DeadLetter, *, beside: Headers) -> Headers:
    """Id and index only where the headers `beside` them do not say the same."""
    record, said = letter.record, dict(beside)
    texts: list[tuple[str, str]] = [
        ("__connect.errors.topic", record.topic),
        ("__connect.errors.partition", str(record.partition)),
        ("__connect.errors.offset", str(record.offset)),
        ("__connect.errors.stage", letter.stage),
        ("__connect.errors.exception.class.name", letter.error),
        ("__connect.errors.exception.message", letter.message[:4096]),
        ("inspection-error-reason", letter.reason),
        ("inspection-error-stage", letter.stage),
        ("inspection-error-attempts", str(letter.attempts)),
        ("inspection-error-retryable", "true" if letter.reason in RETRYABLE else "false"),
    ]
    if said.get(JOB_ID_HEADER) != letter.job_id.encode():
        texts.append((JOB_ID_HEADER, letter.job_id))
    if letter.index is not None and said.get(JOB_INDEX_HEADER) != str(letter.index).encode():
        texts.append((JOB_INDEX_HEADER, str(letter.index)))
    return tuple((name, text.encode(errors="replace")) for name, text in texts)


def _missing_content_type(letter: DeadLetter) -> Headers:
    if letter.record.header("content-type") is not None:
        return ()
    # An event of SeaweedFS is none; what is JSON is an object.
    is_json = letter.reason != "schema_invalid" and (letter.record.value or b"").lstrip()[:1] == b"{"
    return (("content-type", b"application/json" if is_json else b"application/octet-stream"),)


def _copied(headers: Headers, names: Sequence[str]) -> list[tuple[str, bytes | None]]:
    return [header for header in headers if header[0] in names]
