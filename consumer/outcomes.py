"""What does a record of the results or the dead-letters topic say?"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from consumer.errors import ConsumerError
from consumer.messages import JOB_ID_HEADER, JOB_INDEX_HEADER, Headers, Record, ResultMessage, Source
from consumer.settings import TopicSettings

CONNECT_PREFIX = "__connect.errors."
ERROR_PREFIX = "inspection-error-"
ORIGINAL_PREFIX = "inspection-original-"  # of a value that was too large to be kept
REDRIVEN_PREFIX = "inspection-redriven-"

_NUMBER = re.compile(r"[0-9]{1,18}")
_MOST_JOBS = 2**31 - 1
_decoder = msgspec.json.Decoder(ResultMessage)
T = TypeVar("T")


class NotAnOutcome(ConsumerError):
    """Somebody else's record on the topic, or one of a newer version that cannot be read."""


@dataclass(frozen=True, slots=True)
class DeadLetterView:
    """A dead letter as its headers tell it. `record` is as it lies on the dead-letters topic; `source` is the place of
    the job on its own topic (its timestamp is the dead letter's)."""

    record: Record
    source: Source
    job_id: str
    reason: str
    stage: str
    message: str
    attempts: int
    is_retryable: bool
    index: int | None  # which job of its record it is, where that holds several
    redriven: int  # how often it had been redriven already
    is_complete: bool  # False where the original was too large to be kept

    def original_headers(self) -> Headers:
        """The headers of the job without those that tell of the failure; id and index of the job are kept."""
        dropped = (CONNECT_PREFIX, ERROR_PREFIX, ORIGINAL_PREFIX)
        return tuple(header for header in self.record.headers if not header[0].startswith(dropped))


def read_outcome(record: Record, topics: TopicSettings) -> ResultMessage | DeadLetterView:
    """By the topic that it lies on. Raises NotAnOutcome."""
    return read_dead_letter(record) if record.topic == topics.dead_letters else read_result(record)


def read_result(record: Record) -> ResultMessage:
    """Raises NotAnOutcome with the place of the record and the path of what is wrong in it."""
    try:
        return _decoder.decode(record.value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NotAnOutcome(f"{_place(record)} is no result: {error}") from error


def read_dead_letter(record: Record) -> DeadLetterView:
    """Raises NotAnOutcome with the place of the record and the header that it misses."""
    topic = _required(_text, record, f"{CONNECT_PREFIX}topic")
    partition = _required(_number, record, f"{CONNECT_PREFIX}partition")
    offset = _required(_number, record, f"{CONNECT_PREFIX}offset")
    index = stated_index(record)
    return DeadLetterView(
        record=record,
        source=Source(topic, partition, offset, index or 0, record.timestamp_ms),
        job_id=_text(record, JOB_ID_HEADER) or f"{topic}/{partition}/{offset}",
        reason=_required(_text, record, f"{ERROR_PREFIX}reason"),
        stage=_text(record, f"{ERROR_PREFIX}stage") or "",
        message=_text(record, f"{CONNECT_PREFIX}exception.message") or "",
        attempts=_number(record, f"{ERROR_PREFIX}attempts") or 1,
        is_retryable=_text(record, f"{ERROR_PREFIX}retryable") == "true",
        index=index,
        redriven=_lenient(record, f"{REDRIVEN_PREFIX}count") or 0,
        is_complete=record.header(f"{ORIGINAL_PREFIX}omitted") is None or record.value is not None,
    )


def stated_index(record: Record) -> int | None:
    """Which job of its record it says it is, by the header that a dead letter of several jobs keeps; a number that no
    record can have so many jobs of says nothing."""
    index = _lenient(record, JOB_INDEX_HEADER)
    return None if index is None or index > _MOST_JOBS else index


def _required(read: Callable[[Record, str], T | None], record: Record, name: str) -> T:
    value = read(record, name)
    if value is None:
        raise NotAnOutcome(f"{_place(record)} is no dead letter: it has no header {name}")
    return value


def _text(record: Record, name: str) -> str | None:
    value = record.header(name)
    return None if value is None else value.decode(errors="replace")


def _number(record: Record, name: str) -> int | None:
    text = _text(record, name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise NotAnOutcome(f"{_place(record)} is no dead letter: its header {name} is {text[:60]!r}")
    return int(text)


def _lenient(record: Record, name: str) -> int | None:
    """Of a header that a job may have been published with: whatever it says, its dead letter is read."""
    text = _text(record, name) or ""
    return int(text) if _NUMBER.fullmatch(text) else None


def _place(record: Record) -> str:
    return f"record {record.coordinates}"
