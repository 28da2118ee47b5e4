"""consumer audit explain: one job's story."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands.frame import AsJson, SettingsFile, console, ending, open_settings, write_line
from consumer.commands.selecting import From, OutcomeTopics, Since, Until, moment_of, open_audit
from consumer.errors import CheckFailed, Rejected, SettingsError

if TYPE_CHECKING:
    from consumer.audit.story import Outcome, Story
    from consumer.settings import Settings

_WIDE = 40  # letters of the longest stage
_SUFFIXES = (".jpg", ".jpeg", ".png")


def explain(
    job: Annotated[
        str, typer.Argument(metavar="JOB", help="A job id, or topic/partition/offset, with #index of several.")
    ],
    settings: SettingsFile = None,
    *,
    from_: From = None,
    jobs: Annotated[
        str | None, typer.Option("--jobs", metavar="TOPIC", help="Where jobs lie. [default: topics.jobs]")
    ] = None,
    topic: OutcomeTopics = None,
    since: Since = None,
    until: Until = None,
    check: Annotated[
        bool, typer.Option("--check", help="Ask the store whether the image still has the bytes that were inspected.")
    ] = False,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the image with its boxes to FILE.jpg or FILE.png.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell what happened to a job: when and where it was published, which replica did it with which weights, how long
    each stage took, what was found or why it failed. All jobs of that id are told: an id may have been sent twice.

    With --since (and --until) only what was published then is looked for, which is faster in a large audit.

    Exit codes: 0 told, 1 no such job, or its image is gone or changed, 2 settings or arguments, 3 store not reachable.

    Example: consumer audit explain part-4711 --picture part-4711.jpg
    """
    with ending():
        if picture is not None and picture.suffix.lower() not in _SUFFIXES:
            raise SettingsError(f"--picture {picture}: expected a name that ends in {', '.join(_SUFFIXES)}")
        loaded = open_settings(settings, inspects=False)
        library = open_audit(loaded, from_)
        from consumer.audit.story import Asked, stories

        topics = tuple(topic or (loaded.topics.results, loaded.topics.dead_letters))
        asked = Asked(
            job=job,
            jobs=jobs or loaded.topics.jobs,
            outcomes=topics,
            since=moment_of(since, option="--since"),
            until=moment_of(until, option="--until"),
        )
        told = stories(library, asked)
        if not told:
            raise CheckFailed(f"audit {library.shelf.name} knows no job {job}")
        for story in told:
            if as_json:
                write_line(story)
            else:
                for line in _lines(story):
                    console.print(line, markup=False, highlight=False, soft_wrap=True)
        if check or picture is not None:
            _look(told, loaded, picture)


def _lines(story: Story) -> Iterator[str]:
    yield f"{story.job_id}  ({story.place})"
    if story.published is None:
        yield "  published   the audit does not hold its record"
    else:
        others = f", with {story.published.others} other jobs in its record" if story.published.others else ""
        key = f", key {story.published.record_key}" if story.published.record_key else ""
        yield f"  published   {_time(story.published.time)}{key}{others}"
    if not story.outcomes:
        yield "  outcome     none yet"
    if len(story.outcomes) > 1:
        yield f"  outcome     {len(story.outcomes)} of them: more than one"
    for outcome in story.outcomes:
        after = f", {_seconds(story, outcome)} after it was published" if story.published else ""
        yield f"  {outcome.kind.replace('_', ' '):<11} {_time(outcome.time)}, {outcome.place}{after}"
        yield from (f"  {name:<11} {text}" for name, text in _facts(outcome))


def _facts(outcome: Outcome) -> Iterator[tuple[str, str]]:
    if outcome.reason is not None:
        again = "the same job may succeed when it is sent again" if outcome.retryable else "as it is, it cannot succeed"
        yield "reason", f"{outcome.reason} ({outcome.stage}, {outcome.attempts} attempts): {again}"
        yield "", outcome.error or ""
    if outcome.worker is not None:
        yield "replica", f"{outcome.worker}, version {outcome.version}"
    if outcome.timings_ms is not None:
        yield from _timeline(outcome.timings_ms)
    if outcome.image is not None:
        size = f", {outcome.width}x{outcome.height}, {outcome.bytes:,} bytes" if outcome.bytes is not None else ""
        version = f", version {outcome.version_id}" if outcome.version_id else ""
        yield "image", f"{outcome.image}{version}{size}"
    if outcome.sha256 is not None:
        yield "", f"sha256 {outcome.sha256}"
    if outcome.model is not None:
        how = f"{outcome.engine} {outcome.precision}, {outcome.image_size} {outcome.shapes}, decode {outcome.decode}"
        yield "weights", f"{outcome.model} ({how})"
        yield "", f"sha256 {outcome.model_sha256}"
        classes = "all" if outcome.class_filter is None else ", ".join(map(str, outcome.class_filter))
        yield "asked for", f"confidence {outcome.confidence}, iou {outcome.iou}, classes {classes}"
    if outcome.detections is not None:
        yield from _found(outcome)
    if outcome.metadata:
        yield "metadata", outcome.metadata
    if outcome.redriven:
        yield "redriven", f"{outcome.redriven} times before"
    if outcome.original is not None:
        yield "original", outcome.original[:2000]


def _found(outcome: Outcome) -> Iterator[tuple[str, str]]:
    if not outcome.detections:
        yield "found", "nothing"
    for number, one in enumerate(outcome.detections or ()):
        box = ", ".join(f"{side:g}" for side in one.box)
        yield "" if number else "found", f"{one.class_name} {one.confidence:.3f} at {box}"


def _timeline(timings: dict[str, float]) -> Iterator[tuple[str, str]]:
    from consumer.audit.story import STAGES

    longest = max(*(timings[stage] for stage in STAGES), 1e-9)
    for number, stage in enumerate(STAGES):
        bar = "█" * max(1, round(timings[stage] / longest * _WIDE))
        yield "" if number else "stages", f"{stage:<7} {timings[stage]:>9.1f} ms  {bar}"
    yield "", f"{'in all':<7} {timings['total']:>9.1f} ms"


def _look(told: list[Story], settings: Settings, picture: Path | None) -> None:
    """At the image of the last result."""
    from consumer.auditing.illustration import content_of, picture_of

    results = [outcome for story in told for outcome in story.outcomes if outcome.kind == "result"]
    if not results:
        raise CheckFailed("there is no result whose image could be looked at")
    outcome = results[-1]
    try:
        content = content_of(outcome, settings)
        if picture is not None:
            picture.write_bytes(picture_of(content, outcome, settings, picture.suffix.lower()))
    except Rejected as rejection:
        raise CheckFailed(f"{rejection.reason}: {rejection}") from rejection
    said = f", drawn in {picture}" if picture else ""
    console.print(f"{outcome.image} still has the bytes that were inspected{said}", markup=False, highlight=False)


def _time(moment: object) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}"[:-3] + " UTC"


def _seconds(story: Story, outcome: Outcome) -> str:
    assert story.published is not None  # noqa: S101
    return f"{(outcome.time - story.published.time).total_seconds():.3f} s"
