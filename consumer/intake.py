"""Which jobs a record holds.

Today a record is one native job. The answer is a tuple because an event notification will hold several.
"""

import re

import msgspec
from msgspec import UNSET, Raw

from consumer.errors import Rejected
from consumer.messages import JOB_ID_HEADER, ImageReference, Job, JobMessage, JobParameters, Record

_decoder = msgspec.json.Decoder(JobMessage)
_MISSING = re.compile(r"Object missing required field (?P<field>\w+)$")

MAX_KEY_BYTES = 1024  # S3's own limit


def jobs_of(record: Record) -> tuple[Job, ...]:
    """The record's jobs, in order. Raises Rejected(schema_invalid) with the path of the field that is wrong."""
    message = _decode(record.value)
    metadata = UNSET if isinstance(message.metadata, msgspec.UnsetType) else Raw(bytes(message.metadata))
    job = Job(
        record=record,
        job_id=message.job_id or name_of(record),
        image=_reference(message.image),
        parameters=message.parameters or JobParameters(),
        metadata=metadata,
    )
    return (job,)


def name_of(record: Record) -> str:
    """The id of a job that does not name itself: the header's, else its coordinates. Never the key: keys repeat."""
    header = record.header(JOB_ID_HEADER)
    if header:
        try:
            return header.decode()
        except UnicodeDecodeError:
            pass
    return f"{record.topic}/{record.partition}/{record.offset}"


def _decode(value: bytes | None) -> JobMessage:
    if value is None:
        raise Rejected("schema_invalid", "$: the record has no value")
    try:
        # Raw fields are passed over by the decoder, so UTF-8 is checked here for all of the text.
        value.decode()
        return _decoder.decode(value)
    except UnicodeDecodeError as error:
        raise Rejected("schema_invalid", f"$: not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise Rejected("schema_invalid", "$: nested too deep") from error
    except msgspec.MsgspecError as error:
        raise Rejected("schema_invalid", _explain(str(error))) from error


def _explain(text: str) -> str:
    """msgspec says "Expected `str`, got `int` - at `$.image.key`"; our messages put the path first."""
    fact, _, at = text.replace("`", "").partition(" - at ")
    path = at or "$"
    if missing := _MISSING.match(fact):
        return f"{path}.{missing['field']}: required, missing"
    if path == "$.schema":
        return f"$.schema: expected inspection.job/1, {fact.lower()}"
    return f"{path}: {fact.replace('Expected', 'expected', 1)}"


def _reference(image: ImageReference | str) -> ImageReference:
    reference = image if isinstance(image, ImageReference) else _from_uri(image)
    if (length := len(reference.key.encode())) > MAX_KEY_BYTES:
        raise Rejected("schema_invalid", f"$.image.key: {length} bytes, S3 allows {MAX_KEY_BYTES}")
    return reference


def _from_uri(uri: str) -> ImageReference:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not key:
        raise Rejected("schema_invalid", f"$.image: expected s3://bucket/key, got {uri[:200]!r}")
    return ImageReference(bucket, key)
