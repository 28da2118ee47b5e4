"""What is there to say about a run of the demo, in numbers?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consumer.demo.defects import CLASS_NAMES
from consumer.demo.score import Score
from consumer.messages import Timings

STAGES = ("queue", "fetch", "decode", "detect", "total")
Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class BadJob:
    """A bad job's name and the reason that its dead letter gives; `expected` is the one that it must give."""

    name: str
    reason: str
    expected: str
    message: str
    image: str
    coordinates: str


@dataclass(frozen=True)
class Report:
    """What a run of the demo did. `seconds` are from the first job published to the last outcome read."""

    images: int
    seconds: float
    repeated: int  # outcomes that were seen again
    timings: Sequence[Timings]
    batches: Mapping[int, int]  # how many batches had at most so many images, and more than the size before
    score: Score
    bad_jobs: Sequence[BadJob]

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds

    def milliseconds(self, stage: str, share: float) -> float:
        """The time in a stage that this share of the images took at most."""
        ordered = sorted(getattr(timings, stage) for timings in self.timings)
        return float(ordered[min(len(ordered) - 1, int(share * len(ordered)))]) if ordered else 0.0

    def stage_rows(self) -> Rows:
        """Stage, p50 and p99 in milliseconds."""
        return tuple(
            (stage, f"{self.milliseconds(stage, 0.5):.1f}", f"{self.milliseconds(stage, 0.99):.1f}") for stage in STAGES
        )

    def defect_rows(self) -> Rows:
        """Class, drawn, found, missed, false; the sum of all is the last row."""
        score = self.score
        counters = (score.drawn, score.found, score.missed, score.false)
        rows = [(name, *(str(counter[name]) for counter in counters)) for name in CLASS_NAMES]
        return (*rows, ("all", *(str(counter.total()) for counter in counters)))

    def batch_text(self) -> str:
        """How many batches held how many images. On a CPU all hold one."""
        sizes = {size: count for size, count in sorted(self.batches.items()) if count}
        text = ", ".join(f"{count} of {size}" for size, count in sizes.items()) or "unknown"
        return f"{text} (OpenVINO runs single images side by side)" if set(sizes) == {1} else text

    def wrong(self) -> list[str]:
        """What is not as it must be, a sentence each."""
        return [
            f"the job with the {job.name} became {job.reason or 'no dead letter'}, not {job.expected}"
            for job in self.bad_jobs
            if job.reason != job.expected
        ]

    def as_json(self) -> dict[str, Any]:
        return {
            "images": self.images,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 1),
            "milliseconds": {
                stage: {"p50": self.milliseconds(stage, 0.5), "p99": self.milliseconds(stage, 0.99)} for stage in STAGES
            },
            "batch_sizes": dict(self.batches),
            "defects": {
                "drawn": self.score.drawn.total(),
                "found": self.score.found.total(),
                "missed": self.score.missed.total(),
                "false": self.score.false.total(),
            },
            "dead_letters": dict(Counter(job.reason for job in self.bad_jobs if job.reason)),
            "repeated": self.repeated,
        }


def sizes_of(buckets: Mapping[float, float]) -> dict[int, int]:
    """How many fell between one bound and the next, from a Prometheus histogram's cumulative counts by bound."""
    sizes, before = {}, 0
    for bound, count in sorted(buckets.items()):
        if bound != float("inf"):
            sizes[int(bound)] = int(count) - before
        before = int(count)
    return sizes
