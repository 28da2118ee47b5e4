"""consumer audit diff: what do other weights or settings see differently?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from consumer.commands.asking import a_number, show_page, warn
from consumer.commands.frame import AsJson, SettingsFile, console, ending, open_settings, write_line
from consumer.commands.selecting import (
    Bucket,
    From,
    KeyPattern,
    Metadata,
    Model,
    Since,
    Until,
    fields_of,
    moment_of,
    open_audit,
)
from consumer.errors import CheckFailed, SettingsError

if TYPE_CHECKING:
    from consumer.audit.diff import Difference, Example, Inspection, JobKind
    from consumer.audit.matching import Change
    from consumer.settings import Settings

_CHANGES = ("vanished", "appeared", "class_changed", "moved", "shifted")
_SAID: dict[JobKind, str] = {
    "same": "with the same detections",
    "changed": "with other detections",
    "died": "had a result, and are dead letters",
    "recovered": "were dead letters, and have a result",
    "still_dead": "dead letters on both sides",
    "different_bytes": "whose image has other bytes now, not compared",
    "missing": "of the base without an outcome of the candidate",
    "extra": "of the candidate without an outcome of the base",
}
_SHOWN = 3  # changes of one example, and classes that became others


class By(StrEnum):
    """What makes two jobs the same; the names of a command-line option."""

    JOB = "job"
    IMAGE = "image"


Fraction = Annotated[float, typer.Option(min=0, max=1, callback=a_number)]
Most = Annotated[int | None, typer.Option(metavar="N", min=0, help="1 if there are more.")]


def diff(
    settings: SettingsFile = None,
    *,
    from_: From = None,
    base: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TOPIC", help="Of outcomes; repeatable. [default: topics.results and topics.dead_letters]"
        ),
    ] = None,
    since: Since = None,
    until: Until = None,
    model: Model = None,
    candidate: Annotated[
        list[str] | None,
        typer.Option(metavar="TOPIC", help="The other outcomes; repeatable. [default: those of the base]"),
    ] = None,
    candidate_from: Annotated[
        str | None, typer.Option(metavar="PLACE", help="The other audit. [default: that of the base]")
    ] = None,
    candidate_since: Annotated[str | None, typer.Option(metavar="TIME", help="The candidate's from then on.")] = None,
    candidate_until: Annotated[str | None, typer.Option(metavar="TIME", help="The candidate's before then.")] = None,
    candidate_model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The candidate's of these weights alone.")
    ] = None,
    key: KeyPattern = None,
    bucket: Bucket = None,
    metadata: Metadata = None,
    by: Annotated[
        By, typer.Option("--by", help="Jobs are the same by id and image, or by their image alone.")
    ] = By.JOB,
    overlap: Annotated[
        float, typer.Option(min=0.01, max=1, callback=a_number, help="Boxes are of one thing from this IoU on.")
    ] = 0.5,
    moved: Annotated[
        float, typer.Option(min=0, max=1, callback=a_number, help="It moved if the IoU is below this.")
    ] = 0.9,
    shift: Annotated[
        float, typer.Option(min=0, max=1, callback=a_number, help="It shifted if the confidence differs by more.")
    ] = 0.1,
    examples: Annotated[int, typer.Option(metavar="N", min=0, help="Show the N worst.")] = 10,
    pictures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw these, base left and candidate right; S3 is asked.")
    ] = None,
    max_changed: Annotated[
        float | None,
        typer.Option(metavar="RATIO", min=0, max=1, callback=a_number, help="1 if more of the jobs have changed."),
    ] = None,
    max_vanished: Most = None,
    max_appeared: Most = None,
    max_class_changed: Most = None,
    max_moved: Most = None,
    max_shifted: Most = None,
    max_new_dead_letters: Most = None,
    max_different_bytes: Most = None,
    max_missing: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, help="1 if more jobs are missing. [default: 0 with any other --max, else any]"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the outcomes of the same jobs, job by job and detection by detection.

    Two inspections: two sets of topics (after `consumer audit replay`), two audits, two times, or two models. A
    detection of one is that of the other which it overlaps most; what is left vanished or appeared.

    Exit codes: 0 within what is allowed, 1 beyond it, or there was nothing to compare, 2 settings or arguments,
    3 store not reachable.

    Example: consumer audit diff --candidate candidate.results --candidate candidate.dead-letters --max-vanished 0
    """
    with ending():
        loaded = open_settings(settings, inspects=False)
        base_side = _Side(from_, tuple(base or _topics(loaded)), since, until, model)
        place, topics = candidate_from or from_, tuple(candidate or base_side.topics)
        other_side = _Side(place, topics, candidate_since, candidate_until, candidate_model)
        if base_side == other_side:
            raise SettingsError(
                "nothing tells the candidate from the base: --candidate, --candidate-from, --candidate-since, "
                "--candidate-until or --candidate-model"
            )
        from consumer.audit.diff import compare, configurations
        from consumer.audit.matching import Tolerances
        from consumer.audit.verdict import Allowed

        chosen = {"key": key, "bucket": bucket, "metadata": fields_of(metadata)}
        one = _inspection(loaded, base_side, chosen, "")
        other = _inspection(loaded, other_side, chosen, "candidate-")
        found = compare(one, other, by=by.value, tolerances=Tolerances(overlap, moved, shift), examples=examples)
        allowed = Allowed(
            changed=max_changed,
            vanished=max_vanished,
            appeared=max_appeared,
            class_changed=max_class_changed,
            moved=max_moved,
            shifted=max_shifted,
            died=max_new_dead_letters,
            different_bytes=max_different_bytes,
            missing=max_missing,
        )
        exceeded = list(allowed.exceeded(found))
        drawn = _draw(loaded, found, pictures) if pictures else []
        sides = {"base": configurations(one), "candidate": configurations(other)}
        if as_json:
            write_line(_fields(found, sides, exceeded, drawn))
        else:
            _tell(found, sides, drawn)
        if not found.compared:
            raise CheckFailed("nothing was compared: no job has an outcome, of the same bytes, on both sides")
        if exceeded:
            raise CheckFailed(f"more than allowed: {'; '.join(exceeded)}")


@dataclass(frozen=True, slots=True)
class _Side:
    """Where the outcomes of one inspection lie, as a person named it."""

    place: str | None
    topics: tuple[str, ...]
    since: str | None
    until: str | None
    model: str | None


def _topics(settings: Settings) -> tuple[str, str]:
    return settings.topics.results, settings.topics.dead_letters


def _inspection(settings: Settings, side: _Side, chosen: dict[str, Any], prefix: str) -> Inspection:
    from consumer.audit.diff import Inspection
    from consumer.audit.selection import Selection

    library = open_audit(settings, side.place)
    if unknown := sorted(set(side.topics) - set(library.topics())):
        warn(f"note: audit {library.shelf.name} holds nothing of {', '.join(unknown)}")
    since = moment_of(side.since, option=f"--{prefix}since")
    until = moment_of(side.until, option=f"--{prefix}until")
    return Inspection(library, side.topics, Selection(since=since, until=until, model=side.model, **chosen))


def _draw(settings: Settings, found: Difference, folder: Path) -> list[Path]:
    from consumer.auditing.diff_pictures import draw_examples
    from consumer.auditing.inspected import open_images

    images = open_images(settings)
    return list(draw_examples(found.examples, images, settings.images, folder, warn=warn))


# --- telling ------------------------------------------------------------------------------------------------------


def _fields(found: Difference, sides: dict[str, Any], exceeded: list[str], drawn: list[Path]) -> dict[str, Any]:
    return {
        "compared": found.compared,
        "changed_ratio": round(found.changed_ratio, 6),
        "jobs": {kind: found.jobs[kind] for kind in _SAID},
        "changes": {kind: found.changes[kind] for kind in _CHANGES},
        "classes": {
            name: {"base": tally.base, "candidate": tally.candidate} | {kind: tally.changes[kind] for kind in _CHANGES}
            for name, tally in sorted(found.classes.items())
        },
        "confusions": [{"from": one, "to": other, "count": n} for (one, other), n in found.confusions.most_common()],
        "configurations": sides,
        "examples": found.examples,
        "pictures": [str(path) for path in drawn],
        "exceeded": exceeded,
    }


def _tell(found: Difference, sides: dict[str, list[dict[str, Any]]], drawn: list[Path]) -> None:
    from rich.table import Table
    from rich.text import Text

    from consumer.watching.outcome_lines import printable

    for side, configurations in sides.items():
        for configuration in configurations:
            _say(f"{side}: {_configuration(configuration)}")
    _say(f"{found.compared:,} jobs compared, {found.changed_ratio:.1%} of them changed")
    for kind, said in _SAID.items():
        if found.jobs[kind]:
            _say(f"  {found.jobs[kind]:,} {said}")
    if found.classes:
        console.print()
        table = Table("CLASS", "BASE", "CANDIDATE", *(kind.replace("_", " ").upper() for kind in _CHANGES), box=None)
        for name, tally in sorted(found.classes.items()):
            counts = [tally.base, tally.candidate, *(tally.changes[kind] for kind in _CHANGES)]
            table.add_row(*map(Text, [printable(name), *map(str, counts)]))
        show_page(table)
    for (one, other), count in found.confusions.most_common(_SHOWN):
        _say(f"  {count:,} {one} → {other}")
    for example in found.examples:
        _say(f"\n{_said(example)}")
    if drawn:
        _say(f"\n{len(drawn)} pictures, base left and candidate right: {drawn[0].parent}")


def _said(example: Example) -> str:
    lines = [f"{example.job_id}  {example.image.uri}  {example.base_place} → {example.candidate_place}"]
    lines += [f"  {example.kind}: {example.fact}"] if example.fact else []
    lines += [f"  {_change(change)}" for change in example.changes[:_SHOWN]]
    rest = len(example.changes) - _SHOWN
    return "\n".join([*lines, *([f"  and {rest} more"] if rest > 0 else [])])


def _change(change: Change) -> str:
    seen = [f"{one.class_name} {one.confidence:.2f}" for one in (change.base, change.candidate) if one is not None]
    where = change.base or change.candidate
    box = ", ".join(f"{side:.0f}" for side in where.box) if where else ""
    fact = f", IoU {1 - change.amount:.2f}" if change.kind == "moved" else ""
    return f"{change.kind.replace('_', ' ')}: {' → '.join(seen)} at {box}{fact}"


def _configuration(one: dict[str, Any]) -> str:
    return (
        f"{one['jobs']:,} results of {one['model']} {one['model_sha256'][:12]} ({one['engine']}, {one['precision']}, "
        f"confidence {one['confidence_threshold']:g}, iou {one['iou_threshold']:g})"
    )


def _say(text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
