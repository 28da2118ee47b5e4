"""One record of Kafka → one row of the audit."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from msgspec import UNSET

from consumer.audit.columns import JOBS, JOBS_SCHEMA, OUTCOMES, OUTCOMES_SCHEMA
from consumer.audit.names import clamped
from consumer.errors import Rejected
from consumer.intake import contents_of, name_of
from consumer.messages import Detection, Job, Record, ResultMessage
from consumer.outcomes import CONNECT_PREFIX, DeadLetterView, NotAnOutcome, read_dead_letter, read_result, stated_index

_AT_ONCE = 5000  # rows that exist as Python objects

Row = dict[str, Any]


def job_rows(records: Sequence[Record]) -> pl.DataFrame:
    """(n records,) → n rows of `JOBS`, in their order."""
    return _frame(records, job_row, JOBS)


def result_rows(records: Sequence[Record]) -> pl.DataFrame:
    """(n records of the results topic,) → n rows of `OUTCOMES`, in their order."""
    return _frame(records, result_row, OUTCOMES)


def dead_letter_rows(records: Sequence[Record]) -> pl.DataFrame:
    """(n records of the dead-letters topic,) → n rows of `OUTCOMES`, in their order."""
    return _frame(records, dead_letter_row, OUTCOMES)


@dataclass(frozen=True, slots=True)
class Kind:
    """How the records of one topic become rows, and what these are called in a file's metadata."""

    schema: str
    rows: Callable[[Sequence[Record]], pl.DataFrame]


JOB_ROWS = Kind(JOBS_SCHEMA, job_rows)
RESULT_ROWS = Kind(OUTCOMES_SCHEMA, result_rows)
DEAD_LETTER_ROWS = Kind(OUTCOMES_SCHEMA, dead_letter_rows)


def job_row(record: Record) -> Row:
    """Which jobs it opens; one that cannot be read is one job, as it gets one dead letter."""
    try:
        contents = contents_of(record)
    except Rejected:
        opened = [{"index": stated_index(record) or 0, "job_id": name_of(record)}]
        return _record(record) | {"jobs": opened, "skipped": []}
    opened = [{"index": job.index, "job_id": job.job_id} for job in contents.jobs]
    return _record(record) | {"jobs": opened, "skipped": list(contents.skipped)}


def result_row(record: Record) -> Row:
    """What is no result is a row too, of the kind `foreign`: nothing on the topic is left out."""
    try:
        return _record(record) | _result(read_result(record))
    except NotAnOutcome as error:
        return _foreign(record, error)


def dead_letter_row(record: Record) -> Row:
    """See `result_row`."""
    try:
        return _record(record) | _dead_letter(read_dead_letter(record))
    except NotAnOutcome as error:
        return _foreign(record, error)


def _frame(records: Sequence[Record], row: Any, schema: pl.Schema) -> pl.DataFrame:
    parts = [
        pl.DataFrame(_columns(map(row, records[start : start + _AT_ONCE]), schema), schema=schema, strict=False)
        for start in range(0, len(records), _AT_ONCE)
    ]
    return pl.concat(parts, rechunk=True) if parts else pl.DataFrame(schema=schema)


def _columns(rows: Iterable[Row], schema: pl.Schema) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in schema}
    for row in rows:
        for name, values in columns.items():
            values.append(row.get(name))
    return columns


def _record(record: Record) -> Row:
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "time": clamped(record.timestamp_ms),
        "record_key": record.key,
    }


def _result(result: ResultMessage) -> Row:
    image, model, parameters, source, timings = (
        result.image,
        result.model,
        result.parameters,
        result.source,
        result.timings_ms,
    )
    return {
        "kind": "result",
        "job_id": result.job_id,
        "source_topic": source.topic,
        "source_partition": source.partition,
        "source_offset": source.offset,
        "source_index": source.index,
        "source_time": clamped(source.timestamp_ms),
        "bucket": image.bucket,
        "key": image.key,
        "version_id": image.version_id,
        "etag": image.etag,
        "sha256": image.sha256,
        "bytes": image.bytes,
        "width": image.width,
        "height": image.height,
        "model": model.name,
        "model_sha256": model.sha256,
        "task": model.task,
        "engine": model.engine,
        "precision": model.precision,
        "image_size": model.image_size,
        "shapes": model.shapes,
        "decode": model.decode,
        "confidence_threshold": parameters.confidence,
        "iou_threshold": parameters.iou,
        "max_detections": parameters.max_detections,
        "class_filter": None if parameters.classes is None else list(parameters.classes),
        "detections": [_detection(one) for one in result.detections],
        "classes": sorted({one.class_name for one in result.detections}),
        "count": len(result.detections),
        "top_confidence": max((one.confidence for one in result.detections), default=None),
        "result_id": result.result_id,
        "queue_ms": timings.queue,
        "fetch_ms": timings.fetch,
        "decode_ms": timings.decode,
        "detect_ms": timings.detect,
        "total_ms": timings.total,
        "host": result.worker.host,
        "version": result.worker.version,
        "metadata": None if result.metadata is UNSET else bytes(result.metadata).decode(errors="replace"),
    }


def _detection(one: Detection) -> Row:
    x1, y1, x2, y2 = one.box
    return {
        "class_id": one.class_id if abs(one.class_id) < 2**31 else None,  # polars refuses the frame, not the number
        "class_name": one.class_name,
        "confidence": one.confidence,
        "x1": x1,
        "y1": y1,
        "x2": x2,
        "y2": y2,
    }


def detections_of(found: Sequence[Mapping[str, Any]] | None) -> tuple[Detection, ...]:
    """What stands in the column `detections` of a row, as it was in the result; none for null."""
    return tuple(
        Detection(one["class_id"], one["class_name"], one["confidence"], (one["x1"], one["y1"], one["x2"], one["y2"]))
        for one in found or ()
    )


def _dead_letter(letter: DeadLetterView) -> Row:
    error = letter.record.header(f"{CONNECT_PREFIX}exception.class.name")
    row: Row = {
        "kind": "dead_letter",
        "job_id": letter.job_id,
        "source_topic": letter.source.topic,
        "source_partition": letter.source.partition,
        "source_offset": letter.source.offset,
        "source_index": letter.source.index,
        "reason": letter.reason,
        "stage": letter.stage,
        "attempts": letter.attempts,
        "retryable": letter.is_retryable,
        "error_class": None if error is None else error.decode(errors="replace"),
        "error_message": letter.message,
        "redriven": letter.redriven,
        "original": letter.record.value,
        "original_headers": [{"name": name, "value": value} for name, value in letter.original_headers()],
        "original_omitted": not letter.is_complete,
    }
    job = _job_of(letter)
    if job is not None:
        row |= {"bucket": job.image.bucket, "key": job.image.key, "version_id": job.image.version_id}
        row["metadata"] = None if job.metadata is UNSET else bytes(job.metadata).decode(errors="replace")
    return row


def _job_of(letter: DeadLetterView) -> Job | None:
    """The job that it was, where its original can be read."""
    try:
        jobs = contents_of(letter.record).jobs
    except Rejected:
        return None
    return next((job for job in jobs if job.index == letter.source.index), None)


def _foreign(record: Record, error: NotAnOutcome) -> Row:
    return _record(record) | {"kind": "foreign", "error_message": str(error), "original": record.value}
