"""What does one dead letter look like in full: the failure, and the job as it was published?"""

import base64
from collections.abc import Iterator

import msgspec
from msgspec import Raw, Struct

from consumer.outcomes import DeadLetterView
from consumer.watching.choice import Seen
from consumer.watching.outcome_lines import DeadLetterLine, as_json, printable, time_of

MOST_DUMPED = 4096
_ROW = 16


class Bytes(Struct, frozen=True, omit_defaults=True):
    """Bytes as text where they are UTF-8, else in Base64."""

    text: str | None = None
    base64: str | None = None


class Page(Struct, frozen=True):
    """`failure` as `list` shows it; key, value and headers as they lie on the dead-letters topic. `job` is the value
    once more where that is JSON."""

    failure: Raw | DeadLetterLine
    key: Bytes | None
    headers: tuple[tuple[str, Bytes | None], ...]
    value: Bytes | None
    job: Raw | None


def page_of(seen: Seen) -> Page:
    record = seen.record
    headers = tuple((name, _bytes(value)) for name, value in record.headers)
    text = _formatted(record.value, indent=-1)
    return Page(as_json(seen), _bytes(record.key), headers, _bytes(record.value), None if text is None else Raw(text))


def lines_of(seen: Seen, letter: DeadLetterView) -> Iterator[str]:
    """The page for a terminal; nothing in it can steer one."""
    record = seen.record
    yield f"dead letter  {record.coordinates}  {time_of(record.timestamp_ms)}"
    yield f"job          {seen.coordinates}" + (
        "" if letter.index is None else f", number {letter.index} of its record"
    )
    yield f"id           {printable(letter.job_id)}"
    yield f"image        {printable(seen.image or '-')}"
    yield f"reason       {printable(letter.reason)}{', a retry may help' if letter.is_retryable else ''}"
    yield f"message      {printable(letter.message)}"
    yield f"stage        {printable(letter.stage)}, attempts: {letter.attempts}, redriven before: {letter.redriven}"
    yield f"key          {_short(record.key)}"
    yield "headers"
    yield from (f"  {printable(name)}: {_short(value)}" for name, value in record.headers)
    yield f"value        {_size(record.value, letter)}"
    yield from (f"  {line}" for line in _value_lines(record.value))


def _size(value: bytes | None, letter: DeadLetterView) -> str:
    if not letter.is_complete:
        return "was too large to be kept; redrive takes it from the jobs topic while it is there"
    return "none" if value is None else f"{len(value)} bytes"


def _value_lines(value: bytes | None) -> Iterator[str]:
    if value is None:
        return
    formatted = _formatted(value, indent=2)
    text = _text(value if formatted is None else formatted)
    if text is not None:
        yield from (printable(line) for line in text.split("\n"))
        return
    for start in range(0, min(len(value), MOST_DUMPED), _ROW):
        row = value[start : start + _ROW]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"{start:08x}  {row.hex(' '):47}  {shown}"
    if len(value) > MOST_DUMPED:
        yield f"… and {len(value) - MOST_DUMPED} bytes more"


def _formatted(value: bytes | None, *, indent: int) -> bytes | None:
    """None where it is no JSON."""
    try:
        (value or b"").decode()  # the decoder passes over strings that nobody asks for
        msgspec.json.decode(value or b"", type=Raw)
        return msgspec.json.format(value or b"", indent=indent)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None


def _short(value: bytes | None) -> str:
    if value is None:
        return "none"
    text = _text(value)
    return printable(text) if text is not None else f"{value.hex(' ')} (no UTF-8)"


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _bytes(value: bytes | None) -> Bytes | None:
    if value is None:
        return None
    text = _text(value)
    return Bytes(text=text) if text is not None else Bytes(base64=base64.b64encode(value).decode())
