"""How does a run of the demo become a page: its parts with what was found and what was drawn, and its numbers?"""

from collections.abc import Mapping

from consumer.demo.line import DrawnPart
from consumer.demo.report import Report
from consumer.gallery import Fact, Gallery, LostJob, Picture, Table, Truth
from consumer.messages import ResultMessage


def album(
    report: Report,
    parts: Mapping[str, DrawnPart],
    results: Mapping[str, ResultMessage],
    *,
    subtitle: str,
) -> Gallery:
    """The page of a run; parts without a picture of page size are left out of it, not of its numbers."""
    drawn, found = report.score.drawn.total(), report.score.found.total()
    dead = [job for job in report.bad_jobs if job.reason]
    facts = (
        Fact("Images per second", f"{report.images_per_second:.0f}", f"{report.images} in {report.seconds:.1f} s"),
        Fact("Defects found", f"{found} of {drawn}", f"{report.score.false.total()} false"),
        Fact("Detection, p50", f"{report.milliseconds('detect', 0.5):.0f} ms", "waiting for the engine included"),
        Fact("Dead letters", str(len(dead)), "each with its reason, below"),
    )
    tables = (
        Table("Defects", ("class", "drawn", "found", "missed", "false"), report.defect_rows()),
        Table("Milliseconds per image", ("stage", "p50", "p99"), report.stage_rows()),
        Table("Batches", ("images", "batches"), tuple((str(size), str(n)) for size, n in report.batches.items() if n)),
    )
    pictures = (
        _picture(key, part, result)
        for key, part in parts.items()
        if part.thumbnail and (result := results.get(key)) is not None
    )
    return Gallery(
        title="Inspected parts",
        subtitle=subtitle,
        facts=facts,
        pictures=tuple(pictures),
        dead_letters=tuple(LostJob(job.reason, job.message, job.image, job.coordinates) for job in dead),
        tables=tables,
        footer="Parts, defects and their true boxes are rendered by consumer demo; boxes were found by the consumer.",
    )


def _picture(key: str, part: DrawnPart, result: ResultMessage) -> Picture:
    return Picture(
        image=part.thumbnail,
        width=result.image.width,
        height=result.image.height,
        title=key,
        detections=result.detections,
        truth=tuple(Truth(defect.class_name, defect.box) for defect in part.defects),
        details={
            "job": result.job_id,
            "sha256": result.image.sha256,
            "fetch, decode, detect": " + ".join(
                f"{milliseconds:.1f}"
                for milliseconds in (result.timings_ms.fetch, result.timings_ms.decode, result.timings_ms.detect)
            )
            + " ms",
        },
    )
