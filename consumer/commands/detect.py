"""consumer detect: what the consumer would say of images, without Kafka."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands.frame import AsJson, SettingsFile, ending, errors, open_settings, write_line
from consumer.messages import DeadLetter, Result, ResultMessage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.images.pictures import Pictures
    from consumer.spotcheck import Checked

_ROW = "{:<20}  {:>10}  {:>31}  {}"


def detect(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE",
            help="Files, folders (with all below them), quoted patterns ('**/*.png'), s3://bucket/key; - reads such "
            "names from standard input, one a line.",
            show_default=False,
        ),
    ],
    settings: SettingsFile = None,
    *,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="In place of model.weights; then no settings file is needed.")
    ] = None,
    confidence: Annotated[float | None, typer.Option(min=0, max=1, help="Least confidence of a detection.")] = None,
    iou: Annotated[
        float | None, typer.Option(min=0, max=1, help="Overlap above which the lesser of two boxes goes.")
    ] = None,
    max_detections: Annotated[int | None, typer.Option(min=1, max=100_000, help="The surest ones alone.")] = None,
    classes: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="These classes alone, by name or id.")
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER|FILE",
            help="Draw the detections: of one image into FILE (.jpg, .png, ...), of many into FOLDER, as .jpg. The "
            "images stay as they are, and no file of a folder is overwritten.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Inspect images on the very way of a job: the quickest way to check weights and settings.

    Any bucket may be named. With --json each image is one line: its result as the consumer would publish it, or the
    reason, stage and message of its rejection.

    Exit codes: 0 every image was inspected, 1 an image was rejected or a picture could not be written, 2 usage,
    settings, weights, credentials or bucket, 3 the store is not reachable, 5 engine or device, 130 interrupted.

    Example: consumer detect photo.jpg --weights best.onnx --save out/
    """
    with ending():
        loaded = open_settings(settings, inspects=False)
        from consumer.images.pictures import Pictures
        from consumer.spotcheck import Asked, check, with_weights

        pictures = Pictures(save) if save is not None else None
        asked = Asked(
            images,
            confidence=confidence,
            iou=iou,
            max_detections=max_detections,
            classes=tuple(name.strip() for name in classes.split(",")) if classes is not None else None,
            picture=pictures.suffix if pictures else None,
            besides=save,
            is_one=pictures is not None and pictures.is_one,
        )
        with contextlib.closing(check(with_weights(loaded, weights), asked)) as checks:
            rejected = _tell(checks, pictures, as_json=as_json)
        if rejected:
            raise typer.Exit(1)


def _tell(checks: Iterator[Checked], pictures: Pictures | None, *, as_json: bool) -> int:
    """Print and save one after the other; returns how many were rejected."""
    count = rejected = 0
    for checked in checks:
        count += 1
        rejected += isinstance(checked.outcome, DeadLetter)
        if pictures is not None and checked.picture is not None:
            path = pictures.write(checked.image, checked.picture)
            if not pictures.is_one and path.stem != Path(checked.image.key).stem:
                _note(f"{checked.image.uri} is drawn in {path}")
        if as_json:
            write_line(checked.told)
        else:
            _show(checked, has_header=count == 1)
    if not as_json:
        _note(f"{count} images, {rejected} rejected")
    return rejected


def _show(checked: Checked, *, has_header: bool) -> None:
    """Rows as they come: a table of any length takes no memory. The file stands last, since it may be long."""
    if has_header:
        typer.echo(_ROW.format("CLASS", "CONFIDENCE", "BOX", "FILE"))
    name = checked.image.uri
    match checked.outcome:
        case DeadLetter(reason=reason, message=message):
            _note(f"rejected: {name}: {reason}: {message}", style="red")
        case Result(body=ResultMessage(detections=())):
            typer.echo(_printable(_ROW.format("-", "", "", name)))
        case Result(body=body):
            for found in body.detections:
                box = " ".join(f"{side:.1f}" for side in found.box)
                typer.echo(_printable(_ROW.format(found.class_name, f"{found.confidence:.3f}", box, name)))


def _note(text: str, *, style: str | None = None) -> None:
    errors.print(_printable(text), style=style, markup=False, highlight=False, soft_wrap=True)


def _printable(text: str) -> str:
    """A file's name may hold anything, a terminal obeys some of it."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
