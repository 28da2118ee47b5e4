"""consumer audit report: a selection of outcomes as one page that anyone can open."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from consumer.commands.asking import ReasonCodes, warn
from consumer.commands.frame import SettingsFile, console, ending, open_settings
from consumer.commands.selecting import (
    Bucket,
    Classes,
    From,
    KeyPattern,
    MaxConfidence,
    Metadata,
    MinConfidence,
    Model,
    OutcomeTopics,
    Partition,
    Since,
    Until,
    open_audit,
    reading,
    selection_of,
)


class Pick(StrEnum):
    """Which pictures are shown; the names of a command-line option."""

    RECENT = "recent"
    DOUBTFUL = "doubtful"
    SURE = "sure"


def report(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The page to write, such as report.html.")],
    settings: SettingsFile = None,
    *,
    from_: From = None,
    topic: OutcomeTopics = None,
    since: Since = None,
    until: Until = None,
    key: KeyPattern = None,
    bucket: Bucket = None,
    class_: Classes = None,
    min_confidence: MinConfidence = None,
    max_confidence: MaxConfidence = None,
    reason: ReasonCodes = None,
    model: Model = None,
    metadata: Metadata = None,
    partition: Partition = None,
    images: Annotated[int, typer.Option(metavar="N", min=0, max=2000, help="So many pictures; about 30 kB each.")] = 60,
    pick: Annotated[
        Pick, typer.Option(help="The newest results, those with the least sure detection, or with the surest.")
    ] = Pick.RECENT,
    title: Annotated[str, typer.Option(metavar="TEXT", help="The page's heading.")] = "Inspection report",
) -> None:
    """Write one HTML file over a selection: numbers, histograms, defects over time, pictures with their boxes, and dead
    letters by reason. It opens from disk, loads nothing, and has class toggles and a confidence slider.

    Images are fetched from S3, and only shown if their bytes are those that were inspected.

    Exit codes: 0 done, 1 the audit cannot be read, 2 settings or arguments, 3 store not reachable.

    Example: consumer audit report today.html --since 1d --pick doubtful
    """
    with ending():
        loaded = open_settings(settings, inspects=False)
        library = open_audit(loaded, from_)
        from consumer.audit.query import chosen
        from consumer.auditing.paper import Paper, write_report

        selection = selection_of(
            since=since,
            until=until,
            key=key,
            bucket=bucket,
            class_=class_,
            min_confidence=min_confidence,
            max_confidence=max_confidence,
            model=model,
            metadata=metadata,
            partition=partition,
            reason=reason,
        )
        topics = topic or [loaded.topics.results, loaded.topics.dead_letters]
        left_out: Counter[str] = Counter()
        paper = Paper(title, f"{library.shelf.name}: {', '.join(topics)}", pick.value, images)
        with reading(library):
            written = write_report(file, chosen(library, topics, selection), paper, loaded, left_out)
        if left_out:
            said = ", ".join(f"{count} {name}" for name, count in left_out.most_common())
            warn(f"{left_out.total()} pictures are not shown: {said}")
        console.print(f"{file}: {written}", markup=False, highlight=False, soft_wrap=True)
