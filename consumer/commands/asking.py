"""How times, numbers and reasons are named on the command line, and how tables and warnings are shown."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands.frame import console, errors
from consumer.errors import REASONS, SettingsError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from consumer.watching.choice import Strangers
    from consumer.watching.moments import Moment

_WIDE = 1000

KeyGlob = Annotated[str | None, typer.Option("--key", metavar="GLOB", help="The record's key.")]
ImageGlob = Annotated[
    str | None,
    typer.Option("--image", metavar="GLOB", help="The image's key, or its whole address if it begins with s3://."),
]
JobName = Annotated[str | None, typer.Option("--job", metavar="ID", help="A job's id, or its topic/partition/offset.")]
ReasonCodes = Annotated[
    list[str] | None,
    typer.Option(
        "--reason",
        metavar="CODE",
        help="Dead letters with this reason; repeatable.",
        autocompletion=lambda: list(REASONS),
    ),
]


def moment(text: str, *, option: str) -> Moment:
    """Raises SettingsError naming the option."""
    from consumer.watching.moments import read_moment

    try:
        return read_moment(text, now=datetime.now(UTC))
    except ValueError as error:
        raise SettingsError(f"{option}: {error}") from None


def a_number(value: float | None) -> float | None:
    """For options: `nan` passes every comparison with a least and a most, and is neither."""
    if value is not None and math.isnan(value):
        raise typer.BadParameter("nan is no number")
    return value


def known_reasons(codes: list[str] | None) -> frozenset[str]:
    """Raises SettingsError for a code that no dead letter has."""
    unknown = sorted(set(codes or ()) - set(REASONS))
    if unknown:
        raise SettingsError(f"--reason: there is no {', '.join(unknown)}; the codes are {', '.join(REASONS)}")
    return frozenset(codes or ())


def warn(text: str) -> None:
    """One line on stderr; the text may come from anywhere."""
    from consumer.watching.outcome_lines import printable

    errors.print(printable(text), style="yellow", markup=False, highlight=False, soft_wrap=True)


def show_page(page: RenderableType) -> None:
    """As wide as the terminal; for a pipe or a file as wide as it must be."""
    if console.is_terminal:
        console.print(page)
        return
    for line in console.render_lines(page, console.options.update(width=_WIDE), pad=False):
        text = "".join(segment.text for segment in line).rstrip()
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def tell_strangers(strangers: Strangers) -> None:
    if strangers.count:
        warn(str(strangers))
