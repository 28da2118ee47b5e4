"""consumer audit export: images worth a second look, with what was found in them, as a dataset."""

from __future__ import annotations

from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from consumer.commands.asking import warn
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
    Only,
    Partition,
    Since,
    Until,
    open_audit,
    reading,
    selection_of,
)
from consumer.errors import CheckFailed

BORDERLINE = (0.3, 0.6)


class Format(StrEnum):
    """Which layout; the names of a command-line option."""

    COCO = "coco"
    YOLO = "yolo"


def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or an empty folder.")],
    settings: SettingsFile = None,
    *,
    format_: Annotated[Format, typer.Option("--format", help="COCO's JSON, or Ultralytics' text files.")],
    from_: From = None,
    topic: Annotated[
        list[str] | None, typer.Option(metavar="TOPIC", help="Of results; repeatable. [default: topics.results]")
    ] = None,
    since: Since = None,
    until: Until = None,
    key: KeyPattern = None,
    bucket: Bucket = None,
    class_: Classes = None,
    min_confidence: MinConfidence = None,
    max_confidence: MaxConfidence = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Whatever the confidence, images without a detection too.")
    ] = False,
    model: Model = None,
    metadata: Metadata = None,
    partition: Partition = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="So many images at the most.")] = None,
) -> None:
    """Export images for relabelling, with all that was found in each. Without --min-confidence, --max-confidence or
    --all these are the borderline ones: with a detection between 0.3 and 0.6.

    Each image is fetched from S3 and has the bytes that were inspected; one that is gone or has others by now is left
    out and named. An image that was inspected several times is exported once, with its last result.

    Exit codes: 0 done, 1 images were left out, or classes contradict each other, 2 settings or arguments, 3 store not
    reachable.

    Example: consumer audit export relabel/ --format yolo --since 7d --class scratch
    """
    with ending():
        loaded = open_settings(settings, inspects=False)
        library = open_audit(loaded, from_)
        from consumer.audit.export import wanted
        from consumer.audit.query import chosen
        from consumer.auditing.relabelling import export as write

        if not all_ and min_confidence is None and max_confidence is None:
            min_confidence, max_confidence = BORDERLINE
        selection = selection_of(
            only=Only.RESULTS,
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
        )
        with reading(library):
            rows = chosen(library, topic or [loaded.topics.results], selection)
            outcomes = list(write(islice(wanted(rows), limit), folder, format_.value, loaded))
        left_out = [why for why in outcomes if why is not None]
        for why in left_out:
            warn(f"left out: {why}")
        count = len(outcomes) - len(left_out)
        console.print(f"{folder}: {count:,} images in the format of {format_.value}", markup=False, highlight=False)
        if left_out:
            raise CheckFailed(f"{len(left_out)} images were left out")
