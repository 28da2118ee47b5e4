"""Which jobs a record holds: a native job, or the events of a store in whatever envelope.

First match wins: native job, S3 event notification, test event, EventBridge, CloudEvent around any of these, change in
a SeaweedFS filer. A CloudEvent in binary mode needs no unwrapping: its value is its data.
"""

import re
from dataclasses import dataclass

import msgspec
from msgspec import UNSET, Raw, UnsetType

from consumer.errors import Rejected
from consumer.events import Envelope, Event, SkipReason, check_key, data_of, envelope_of, events_of
from consumer.messages import (
    JOB_ID_HEADER,
    JOB_INDEX_HEADER,
    UNREADABLE_HEADERS,
    ImageReference,
    Job,
    JobMessage,
    JobParameters,
    Record,
)
from consumer.parsing import invalid, parse, utf8
from consumer.seaweedfs import filer_event

_decoder = msgspec.json.Decoder(JobMessage)
_INDEX = re.compile(rb"\d{1,9}")


@dataclass(frozen=True, slots=True)
class Contents:
    """What a record asks for: its jobs in order, and why each of its other events is none."""

    jobs: tuple[Job, ...]
    skipped: tuple[SkipReason, ...] = ()


@dataclass(frozen=True, slots=True)
class _Asked:
    """A job before it is known which record and place it has."""

    image: ImageReference
    job_id: str | None = None
    parameters: JobParameters = JobParameters()
    metadata: Raw | UnsetType = UNSET


def contents_of(record: Record) -> Contents:
    """Raises Rejected(schema_invalid) with the path of the field that is wrong: then the record is one dead letter.

    A redriven job of several says by a header which one it is, and is the only one that is opened.
    """
    if record.headers == UNREADABLE_HEADERS:
        raise invalid("headers", "a name among them is not UTF-8, so none of them can be read")
    found = _found(record)
    wanted = _wanted(record, len(found))
    jobs: list[Job] = []
    skipped: list[SkipReason] = []
    for index, one in enumerate(found):
        if wanted not in (None, index):
            continue
        if isinstance(one, str):
            skipped.append(one)
            continue
        job_id = one.job_id or name_of(record, index if len(found) > 1 else None)
        jobs.append(Job(record, job_id, one.image, one.parameters, one.metadata, index, len(found)))
    return Contents(tuple(jobs), tuple(skipped))


def name_of(record: Record, index: int | None = None) -> str:
    """The id of a job that does not name itself: the header's, else its coordinates. Never the key: keys repeat.

    `index` is its place in a record of several; a redriven one keeps the id it had.
    """
    name = _header_id(record)
    if name and (index is None or record.header(JOB_INDEX_HEADER) is not None):
        return name
    name = name or record.coordinates
    return name if index is None else f"{name}/{index}"


def _header_id(record: Record) -> str:
    try:
        return (record.header(JOB_ID_HEADER) or b"").decode()
    except UnicodeDecodeError:
        return ""


def _found(record: Record) -> tuple[_Asked | SkipReason, ...]:
    if (event := filer_event(record)) is not None:
        return (_asked(event),)
    return _read(utf8(record.value), "$")


def _read(text: bytes | Raw, at: str, *, is_wrapped: bool = False) -> tuple[_Asked | SkipReason, ...]:
    try:
        return (_native(text, at),)
    except Rejected:
        envelope = _envelope(text)
        if envelope is None or envelope.schema is not UNSET:
            raise
        if (events := events_of(envelope, at)) is not None:
            return tuple(map(_asked, events))
        wrapped = None if is_wrapped else data_of(envelope, at)
        if wrapped is None:
            raise
    return _read(*wrapped, is_wrapped=True)


def _native(text: bytes | Raw, at: str) -> _Asked:
    message = parse(_decoder, text, at)
    return _Asked(
        image=_reference(message.image, f"{at}.image"),
        job_id=message.job_id,
        parameters=message.parameters or JobParameters(),
        metadata=UNSET if isinstance(message.metadata, UnsetType) else Raw(bytes(message.metadata)),
    )


def _asked(event: Event) -> _Asked | SkipReason:
    return event if isinstance(event, str) else _Asked(event)


def _envelope(text: bytes | Raw) -> Envelope | None:
    try:
        return envelope_of(text)
    except Rejected:  # no JSON object
        return None


def _wanted(record: Record, count: int) -> int | None:
    """The index of the only job to open, None for all of them."""
    header = record.header(JOB_INDEX_HEADER)
    if header is None:
        return None
    if not _INDEX.fullmatch(header) or int(header) >= count:
        text = header[:60].decode(errors="replace")
        raise invalid(f"header {JOB_INDEX_HEADER}", f"expected 0 to {count - 1}, got {text!r}")
    return int(header)


def _reference(image: ImageReference | str, at: str) -> ImageReference:
    reference = image if isinstance(image, ImageReference) else _from_uri(image, at)
    check_key(reference.key, f"{at}.key")
    return reference


def _from_uri(uri: str, at: str) -> ImageReference:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not key:
        raise invalid(at, f"expected s3://bucket/key, got {uri[:200]!r}")
    return ImageReference(bucket, key)
