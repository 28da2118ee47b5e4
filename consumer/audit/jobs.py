"""Which jobs are behind the outcomes that a person chose, and what does the audit know of each?"""

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl

from consumer.audit.columns import OUTCOMES
from consumer.audit.library import Library
from consumer.audit.selection import Selection, selected
from consumer.errors import Rejected
from consumer.intake import contents_of
from consumer.messages import ImageReference, JobParameters, Record

_COLUMNS = (
    *("kind", "time", "record_key", "job_id"),
    *("source_topic", "source_partition", "source_offset", "source_index"),
    *("bucket", "key", "version_id", "sha256", "metadata"),
    *("confidence_threshold", "iou_threshold", "max_detections", "class_filter"),
    *("original", "original_headers"),
)
_AT_ONCE = 2000  # rows that exist as Python objects

Place = tuple[str, int, int, int]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class AuditedJob:
    """A job as its outcome tells it. `place` is its record's topic, partition and offset, and its index there; `sha256`
    is that of the bytes that were inspected. `parameters` are for a result the effective ones: what the job itself had
    asked for, no outcome says; for a dead letter, which has none, those of the job."""

    place: Place
    job_id: str
    record_key: bytes | None
    image: ImageReference
    sha256: str | None
    metadata: msgspec.Raw | None
    parameters: JobParameters


def jobs_of(
    library: Library, topics: Sequence[str], selection: Selection, left_out: Counter[str]
) -> Iterator[AuditedJob]:
    """Each job once, in the order of the places where they lie, a file's at a time. Those of which no image is known
    are counted in `left_out` by their reasons."""
    seen: set[Place] = set()
    rows = heapq.merge(*(_rows(library, topic, selection) for topic in topics), key=_in_order)
    for row in rows:
        place = _place(row)
        if place in seen:  # delivered at least once, or a file that lies there twice
            continue
        seen.add(place)
        job = _job(row, place)
        if job is None:
            left_out[row["kind"]] += 1
        else:
            yield job


def sources_of(library: Library, topics: Sequence[str], selection: Selection) -> list[str]:
    """The topics that these jobs lay on."""
    found = selected(library, topics, selection).select("source_topic").unique().collect().to_series()
    return sorted(found.drop_nulls())


def _rows(library: Library, topic: str, selection: Selection) -> Iterator[Row]:
    """By partition and offset, so by the places of their jobs."""
    files = library.files(topic, since=selection.since, until=selection.until, partition=selection.partition)
    for file in files:
        frame = selection.of(library.scan([file], OUTCOMES)).filter(pl.col("kind") != "foreign").select(_COLUMNS)
        for part in frame.collect().iter_slices(_AT_ONCE):
            yield from part.iter_rows(named=True)


def _place(row: Row) -> Place:
    return row["source_topic"], row["source_partition"], row["source_offset"], row["source_index"]


def _in_order(row: Row) -> tuple[int, int, int, str]:
    topic, partition, offset, index = _place(row)
    return partition, offset, index, topic


def _job(row: Row, place: Place) -> AuditedJob | None:
    if row["bucket"] is None or row["key"] is None:
        return None
    return AuditedJob(
        place,
        row["job_id"],
        row["record_key"],
        ImageReference(row["bucket"], row["key"], row["version_id"]),
        row["sha256"],
        None if row["metadata"] is None else msgspec.Raw(row["metadata"].encode()),
        _effective(row) if row["kind"] == "result" else _asked_for(row, place),
    )


def _effective(row: Row) -> JobParameters:
    classes = row["class_filter"]
    chosen = None if classes is None else tuple(classes)
    return JobParameters(row["confidence_threshold"], row["iou_threshold"], row["max_detections"], chosen)


def _asked_for(row: Row, place: Place) -> JobParameters:
    """By the original that the dead letter kept."""
    topic, partition, offset, index = place
    headers = tuple((header["name"], header["value"]) for header in row["original_headers"] or ())
    try:
        jobs = contents_of(Record(topic, partition, offset, 0, row["record_key"], row["original"], headers)).jobs
    except Rejected:
        return JobParameters()
    return next((job.parameters for job in jobs if job.index == index), JobParameters())
