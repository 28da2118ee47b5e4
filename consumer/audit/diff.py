"""What do two inspections of the same jobs see differently: job by job, detection by detection?"""

import heapq
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from consumer.audit.library import Library
from consumer.audit.matching import Change, Tolerances, changes, matched
from consumer.audit.rows import detections_of
from consumer.audit.selection import Selection, selected
from consumer.messages import Detection, ImageReference

MatchBy = Literal["job", "image"]
JobKind = Literal["same", "changed", "died", "recovered", "still_dead", "different_bytes", "missing", "extra"]

IDENTITY: Mapping[MatchBy, tuple[str, ...]] = {"job": ("job_id", "bucket", "key"), "image": ("bucket", "key")}
_SOURCE = ("source_topic", "source_partition", "source_offset", "source_index")
_SIDE = (
    *("kind", "version_id", "sha256", "detections", "reason", "error_message"),
    *("topic", "partition", "offset"),
)
_CONFIGURATION = ("model", "model_sha256", "engine", "precision", "confidence_threshold", "iou_threshold")
_AT_ONCE = 2000  # rows that exist as Python objects
_DEATH = 100.0  # what weighs more than any change of a job's detections

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Inspection:
    """One of the two that are compared."""

    library: Library
    topics: tuple[str, ...]
    selection: Selection

    @property
    def outcomes(self) -> pl.LazyFrame:
        """Columns as in `columns.OUTCOMES`."""
        return selected(self.library, self.topics, self.selection)


@dataclass(frozen=True, slots=True)
class Example:
    """A job whose outcome changed; the places are those of its outcomes."""

    kind: JobKind
    score: float
    job_id: str
    image: ImageReference
    sha256: str | None
    base_place: str
    candidate_place: str
    base: tuple[Detection, ...]
    candidate: tuple[Detection, ...]
    changes: tuple[Change, ...]
    fact: str = ""
    """Why it is a dead letter, where it is one."""


@dataclass(slots=True)
class ClassTally:
    """One class: how often each side saw it, and what became of the base's detections of it (`appeared`: of the
    candidate's)."""

    base: int = 0
    candidate: int = 0
    changes: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Difference:
    """All that was found. `jobs` counts jobs by what became of them, `changes` counts what became of detections."""

    jobs: Counter[JobKind] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    classes: dict[str, ClassTally] = field(default_factory=dict)
    confusions: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)
    """The worst first."""

    @property
    def compared(self) -> int:
        """Jobs of both sides, of the same bytes as far as that is known."""
        return sum(self.jobs[kind] for kind in ("same", "changed", "died", "recovered", "still_dead"))

    @property
    def changed_ratio(self) -> float:
        """Of the jobs compared, those with another outcome; 0 where there are none."""
        changed = sum(self.jobs[kind] for kind in ("changed", "died", "recovered"))
        return changed / self.compared if self.compared else 0.0


def compare(
    base: Inspection,
    candidate: Inspection,
    *,
    by: MatchBy = "job",
    tolerances: Tolerances | None = None,
    examples: int = 10,
) -> Difference:
    """Foreign records are passed over.

    Jobs are the same that have the same id and image (`by` image: the same image); the n-th of these on one side is the
    n-th on the other, by their places on their jobs topics. An outcome that is there twice counts once.
    """
    difference = Difference()
    judged = (_judged(row, difference, tolerances or Tolerances()) for row in _rows(base, candidate, by))
    worth_a_look = (example for example in judged if example is not None)
    if examples:
        difference.examples = heapq.nsmallest(examples, worth_a_look, key=lambda one: (-one.score, one.base_place))
    else:
        deque(worth_a_look, maxlen=0)
    return difference


def configurations(inspection: Inspection) -> list[dict[str, Any]]:
    """Which weights and thresholds made the results, the most frequent first, with their `jobs`."""
    results = inspection.outcomes.filter(pl.col("kind") == "result").group_by(_CONFIGURATION).agg(jobs=pl.len())
    return results.sort("jobs", *_CONFIGURATION, descending=[True, *[False] * len(_CONFIGURATION)]).collect().to_dicts()


# --- pairing jobs -------------------------------------------------------------------------------------------------


def _rows(base: Inspection, candidate: Inspection, by: MatchBy) -> Iterator[Row]:
    """Of both sides; the columns of a side that has no such job are null, `is_base` and `is_candidate` too."""
    identity = [*IDENTITY[by], "nth"]
    joined = _numbered(base, by, "base").join(
        _numbered(candidate, by, "candidate"), on=identity, how="full", coalesce=True, nulls_equal=True
    )
    for part in joined.collect().iter_slices(_AT_ONCE):
        yield from part.iter_rows(named=True)


def _numbered(inspection: Inspection, by: MatchBy, side: str) -> pl.LazyFrame:
    identity = IDENTITY[by]
    named = [pl.col(name).alias(f"{side}_{name}") for name in _SIDE]
    extra = [pl.col("job_id").alias(f"{side}_job_id")] if "job_id" not in identity else []
    return (
        inspection.outcomes.filter(pl.col("kind") != "foreign")
        .sort(*_SOURCE, "time")
        .unique(_SOURCE, keep="first", maintain_order=True)
        .with_columns(nth=pl.int_range(pl.len()).over(identity))
        .select(*identity, "nth", pl.lit(value=True).alias(f"is_{side}"), *named, *extra)
    )


# --- judging ------------------------------------------------------------------------------------------------------


def _judged(row: Row, difference: Difference, tolerances: Tolerances) -> Example | None:
    """Count one job; what is worth a look comes back."""
    kind = _kind_of(row)
    found: tuple[Change, ...] = ()
    if kind == "same":
        found = _compared(row, difference, tolerances)
        kind = "changed" if found else "same"
    difference.jobs[kind] += 1
    if kind not in ("changed", "died", "recovered"):
        return None
    score = sum(change.amount for change in found) if found else _DEATH if kind == "died" else _DEATH / 2
    return Example(
        kind,
        score,
        row.get("job_id") or row["base_job_id"],
        ImageReference(row["bucket"], row["key"], row["base_version_id"] or row["candidate_version_id"]),
        row["base_sha256"] or row["candidate_sha256"],
        _place(row, "base"),
        _place(row, "candidate"),
        detections_of(row["base_detections"]),
        detections_of(row["candidate_detections"]),
        tuple(sorted(found, key=lambda change: -change.amount)),
        _fact(row, kind),
    )


def _kind_of(row: Row) -> JobKind:
    """By the outcomes alone; `same` is what has to be looked into."""
    if not row["is_candidate"]:
        return "missing"
    if not row["is_base"]:
        return "extra"
    match row["base_kind"], row["candidate_kind"]:
        case "result", "result":
            return "same" if row["base_sha256"] == row["candidate_sha256"] else "different_bytes"
        case "result", _:
            return "died"
        case _, "result":
            return "recovered"
        case _:
            return "still_dead"


def _compared(row: Row, difference: Difference, tolerances: Tolerances) -> tuple[Change, ...]:
    one, other = row["base_detections"], row["candidate_detections"]
    for detection in one:
        difference.classes.setdefault(detection["class_name"], ClassTally()).base += 1
    for detection in other:
        difference.classes.setdefault(detection["class_name"], ClassTally()).candidate += 1
    if one == other:
        return ()
    matching = matched(detections_of(one), detections_of(other), overlap=tolerances.overlap)
    found = tuple(changes(matching, tolerances))
    for change in found:
        seen = change.base or change.candidate
        difference.changes[change.kind] += 1
        if seen is not None:
            difference.classes[seen.class_name].changes[change.kind] += 1
        if change.kind == "class_changed" and change.base and change.candidate:
            difference.confusions[change.base.class_name, change.candidate.class_name] += 1
    return found


def _place(row: Row, side: str) -> str:
    return "/".join(str(row[f"{side}_{name}"]) for name in ("topic", "partition", "offset"))


def _fact(row: Row, kind: JobKind) -> str:
    side = {"died": "candidate", "recovered": "base"}.get(kind)
    return f"{row[f'{side}_reason']}: {row[f'{side}_error_message']}" if side else ""
