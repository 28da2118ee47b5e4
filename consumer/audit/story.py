"""What happened to one job, from its record to its outcome, and to others of its name?"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from msgspec import Struct

from consumer.audit.library import Library
from consumer.audit.rows import detections_of
from consumer.audit.selection import Selection, place_of
from consumer.messages import Detection, ImageReference

STAGES = ("queue", "fetch", "decode", "detect")


class Published(Struct, frozen=True):
    """The job's record; `others` is how many jobs it holds beside this one."""

    time: datetime
    record_key: str | None
    others: int


class Outcome(Struct, frozen=True, omit_defaults=True):
    """What came of it, and where that lies. Boxes are absolute pixels of the oriented original, times milliseconds."""

    kind: str
    place: str
    time: datetime
    image: str | None = None
    version_id: str | None = None
    sha256: str | None = None
    bytes: int | None = None
    width: int | None = None
    height: int | None = None
    model: str | None = None
    model_sha256: str | None = None
    engine: str | None = None
    precision: str | None = None
    image_size: int | None = None
    shapes: str | None = None
    decode: str | None = None
    confidence: float | None = None
    iou: float | None = None
    max_detections: int | None = None
    class_filter: list[int] | None = None
    detections: tuple[Detection, ...] | None = None
    timings_ms: dict[str, float] | None = None
    worker: str | None = None
    version: str | None = None
    metadata: str | None = None
    reason: str | None = None
    stage: str | None = None
    attempts: int | None = None
    retryable: bool | None = None
    error: str | None = None
    redriven: int | None = None
    original: str | None = None

    @property
    def reference(self) -> ImageReference | None:
        """Which object it was."""
        if self.image is None:
            return None
        bucket, _, key = self.image.removeprefix("s3://").partition("/")
        return ImageReference(bucket, key, self.version_id)


class Story(Struct, frozen=True):
    """One job: `place` is topic/partition/offset#index. Without `published` the audit does not hold its record, without
    `outcomes` it has none yet; more than one is more than was promised."""

    place: str
    job_id: str
    published: Published | None
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A job id, or a place: topic/partition/offset, with #index where it is one of several."""

    job: str
    jobs: str
    outcomes: tuple[str, ...]
    since: datetime | None = None
    until: datetime | None = None


def stories(library: Library, asked: Asked) -> list[Story]:
    """Every job of that name, or at that place, the earliest first."""
    name, index = _split(asked.job)
    outcomes = _outcomes(library, asked, name)
    records = _records(library, asked, name)
    found: dict[tuple[str, int, int, int], tuple[str, Published | None, list[Outcome]]] = {}
    for place, (job_id, published) in records.items():
        found[place] = (job_id, published, [])
    for place, job_id, outcome in outcomes:
        found.setdefault(place, (job_id, None, []))[2].append(outcome)
    told = [
        Story("{}/{}/{}#{}".format(*place), job_id, published, tuple(sorted(ends, key=lambda one: one.time)))
        for place, (job_id, published, ends) in found.items()
        if index in (None, place[3])
    ]
    return sorted(told, key=lambda one: (_begin(one), one.place))


def _begin(story: Story) -> datetime:
    return story.published.time if story.published else story.outcomes[0].time


def _split(job: str) -> tuple[str, int | None]:
    name, _, index = job.rpartition("#")
    return (name, int(index)) if name and index.isdecimal() else (job, None)


def _records(
    library: Library, asked: Asked, name: str
) -> dict[tuple[str, int, int, int], tuple[str, Published | None]]:
    there = place_of(name)
    has_name = pl.col("jobs").list.eval(pl.element().struct.field("job_id") == name).list.any()
    is_there = pl.lit(value=False)
    if there is not None:
        columns = zip(("topic", "partition", "offset"), there, strict=True)
        is_there = pl.all_horizontal(*(pl.col(column) == value for column, value in columns))
    rows = library.jobs(asked.jobs, since=asked.since, until=asked.until)
    chosen = rows.filter(has_name | is_there).unique(["topic", "partition", "offset"]).collect(engine="streaming")
    found: dict[tuple[str, int, int, int], tuple[str, Published | None]] = {}
    for row in chosen.iter_rows(named=True):
        is_meant = (row["topic"], row["partition"], row["offset"]) == there
        for job in row["jobs"]:
            if is_meant or job["job_id"] == name:
                published = Published(row["time"], _text(row["record_key"]), len(row["jobs"]) - 1)
                found[row["topic"], row["partition"], row["offset"], job["index"]] = (job["job_id"], published)
    return found


def _outcomes(library: Library, asked: Asked, name: str) -> list[tuple[tuple[str, int, int, int], str, Outcome]]:
    rows = Selection(job=name).of(library.outcomes(asked.outcomes, since=asked.since))
    chosen = rows.unique(["topic", "partition", "offset"]).collect(engine="streaming")
    return [
        (
            (row["source_topic"], row["source_partition"], row["source_offset"], row["source_index"]),
            row["job_id"],
            _outcome(row),
        )
        for row in chosen.iter_rows(named=True)
    ]


def _outcome(row: dict[str, Any]) -> Outcome:
    same = ("kind", "time", "version_id", "sha256", "bytes", "width", "height", "model", "model_sha256", "engine")
    more = ("precision", "image_size", "shapes", "decode", "max_detections", "class_filter", "version", "metadata")
    ends = ("reason", "stage", "attempts", "retryable", "redriven")
    return Outcome(
        **{name: row[name] for name in (*same, *more, *ends)},
        place=f"{row['topic']}/{row['partition']}/{row['offset']}",
        image=None if row["key"] is None else f"s3://{row['bucket']}/{row['key']}",
        confidence=row["confidence_threshold"],
        iou=row["iou_threshold"],
        detections=None if row["detections"] is None else detections_of(row["detections"]),
        timings_ms=None if row["total_ms"] is None else {name: row[f"{name}_ms"] for name in (*STAGES, "total")},
        worker=row["host"],
        error=row["error_message"],
        original=_text(row["original"]),
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")
