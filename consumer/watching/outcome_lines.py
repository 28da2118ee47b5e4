"""What does an outcome look like on one line, for people and for programs?"""

from collections import defaultdict
from datetime import UTC, datetime

import msgspec
from msgspec import Raw, Struct

from consumer.messages import Detection, ResultMessage, Source
from consumer.outcomes import DeadLetterView
from consumer.watching.choice import Seen

HEADING = f"{'TIME':20}  {'PLACE':>12}  {'MS':>7}  {'IMAGE':40}  OUTCOME"


class Place(Struct, frozen=True):
    """Where a record lies, and its timestamp."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int


class DeadLetterLine(Struct, frozen=True):
    """A dead letter as one JSON object. `source` is its job's place, with the dead letter's timestamp; `redriven` is
    how often the job had been redriven before it failed this time."""

    reason: str
    stage: str
    message: str
    attempts: int
    retryable: bool
    job_id: str
    image: str | None
    key: str | None
    source: Source
    dead_letter: Place
    redriven: int
    original_omitted: bool


def as_json(seen: Seen) -> Raw | DeadLetterLine:
    """A result is its own JSON on one line, a dead letter one of ours: it has a `reason`, a result a `schema`."""
    if isinstance(seen.outcome, ResultMessage):
        return Raw(msgspec.json.format(seen.record.value or b"", indent=-1))
    letter, record = seen.outcome, seen.record
    return DeadLetterLine(
        reason=letter.reason,
        stage=letter.stage,
        message=letter.message,
        attempts=letter.attempts,
        retryable=letter.is_retryable,
        job_id=letter.job_id,
        image=seen.image,
        key=None if record.key is None else record.key.decode(errors="replace"),
        source=letter.source,
        dead_letter=Place(record.topic, record.partition, record.offset, record.timestamp_ms),
        redriven=letter.redriven,
        original_omitted=not letter.is_complete,
    )


def as_text(seen: Seen) -> str:
    """One line below HEADING."""
    record = seen.record
    place = f"{record.partition}/{record.offset}"
    start = f"{time_of(record.timestamp_ms):20}  {place:>12}"
    if isinstance(seen.outcome, ResultMessage):
        took, what = f"{seen.outcome.timings_ms.total:.1f}", _found(seen.outcome.detections)
    else:
        took, what = "-", f"dead letter: {failure(seen.outcome)}"
    return f"{start}  {took:>7}  {printable(seen.image or '-'):40}  {what}"


def failure(letter: DeadLetterView) -> str:
    return printable(f"{letter.reason}: {letter.message}")


def time_of(timestamp_ms: int) -> str:
    """UTC, to the second."""
    try:
        return datetime.fromtimestamp(timestamp_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):  # producers may send any timestamp
        return str(timestamp_ms)


def printable(text: str) -> str:
    """Without what would steer a terminal: keys and messages may hold anything."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def _found(detections: tuple[Detection, ...]) -> str:
    if not detections:
        return "nothing"
    found: defaultdict[str, list[float]] = defaultdict(list)
    for detection in detections:
        found[detection.class_name].append(detection.confidence)
    by_count = sorted(found.items(), key=lambda one: (-len(one[1]), one[0]))
    return printable(", ".join(f"{len(sure)} {name} {max(sure):.2f}" for name, sure in by_count))
