"""The options by which a person chooses rows of an audit, shared by the commands that read one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands.asking import a_number, known_reasons, moment
from consumer.errors import CheckFailed, SettingsError, Unavailable

if TYPE_CHECKING:
    from consumer.audit.library import Library
    from consumer.audit.selection import Selection
    from consumer.settings import Settings

From = Annotated[
    str | None,
    typer.Option("--from", metavar="PLACE", help="The audit: s3://bucket/prefix or a folder; else the settings'."),
]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Outcomes from then on: 10m (ago), 7d, 2026-01-31T08:00:00Z.")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Outcomes before then.")]
KeyPattern = Annotated[
    str | None, typer.Option("--key", metavar="GLOB", help="The image's key, such as 'line-3/*.jpg'.")
]
Bucket = Annotated[str | None, typer.Option(metavar="NAME", help="The image's bucket.")]
JobName = Annotated[str | None, typer.Option("--job", metavar="ID", help="A job id, or topic/partition/offset.")]
Model = Annotated[
    str | None, typer.Option(metavar="NAME", help="The weights: their name, or how their SHA-256 begins.")
]
Classes = Annotated[
    list[str] | None, typer.Option("--class", metavar="NAME", help="With a detection of it; repeatable.")
]
MinConfidence = Annotated[
    float | None,
    typer.Option(min=0, max=1, callback=a_number, help="With a detection (of --class) at least so sure."),
]
MaxConfidence = Annotated[
    float | None, typer.Option(min=0, max=1, callback=a_number, help="… and at most so sure, the same one.")
]
Metadata = Annotated[
    list[str] | None,
    typer.Option(metavar="FIELD=VALUE", help="Of the job's metadata: line=3, camera.id=c7; repeatable."),
]
OutcomeTopics = Annotated[
    list[str] | None,
    typer.Option(metavar="TOPIC", help="Of outcomes; repeatable. [default: topics.results, topics.dead_letters]"),
]
Partition = Annotated[int | None, typer.Option(metavar="N", min=0, help="Of the outcome's topic.")]


class Only(StrEnum):
    """Which outcomes; the names of a command-line option."""

    ALL = "all"
    RESULTS = "results"
    DEAD_LETTERS = "dead-letters"


def selection_of(
    *,
    since: str | None,
    until: str | None,
    only: Only = Only.ALL,
    key: str | None,
    bucket: str | None,
    job: str | None = None,
    class_: list[str] | None,
    min_confidence: float | None,
    max_confidence: float | None,
    reason: list[str] | None = None,
    model: str | None,
    metadata: list[str] | None,
    partition: int | None,
) -> Selection:
    """What the options above mean together. Raises SettingsError for what one of them cannot be."""
    from consumer.audit.selection import Kind, Selection

    kinds: dict[Only, Kind] = {Only.RESULTS: "result", Only.DEAD_LETTERS: "dead_letter"}
    return Selection(
        since=moment_of(since, option="--since"),
        until=moment_of(until, option="--until"),
        kind=kinds.get(only),
        bucket=bucket,
        key=key,
        job=job,
        model=model,
        partition=partition,
        classes=tuple(class_ or ()),
        min_confidence=min_confidence,
        max_confidence=max_confidence,
        reasons=tuple(sorted(known_reasons(reason))),
        metadata=fields_of(metadata),
    )


_OF_STORE = "object-store error"  # how polars tells what a store said from what a file did


@contextlib.contextmanager
def audit_installed() -> Iterator[None]:
    """SettingsError where what reads and writes Parquet is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("polars", "cryptography"):
            raise
        raise SettingsError(f"{error.name} is not installed: pip install 'inspection-consumer[audit]'") from error


def open_audit(settings: Settings, place: str | None) -> Library:
    """The audit that is meant. Raises SettingsError, also where what reads Parquet is not installed."""
    with audit_installed():
        from consumer.auditing.place import open_library
    return open_library(settings, place)


@contextlib.contextmanager
def reading(library: Library) -> Iterator[None]:
    """CheckFailed for what polars cannot read, SettingsError for what it may not, Unavailable for a store that is away;
    an error about another file passes."""
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        if isinstance(error, OSError) and _OF_STORE not in str(error):
            raise
        fact = f"audit {library.shelf.name} cannot be read: {_shortened(' '.join(str(error).split()))}"
        match error:
            case PermissionError():
                raise SettingsError(fact) from error
            case FileNotFoundError() | pl.exceptions.PolarsError():
                raise CheckFailed(fact) from error
            case _:
                raise Unavailable("store", fact) from error


def _shortened(text: str) -> str:
    """What failed stands at its begin, why at its end."""
    return text if len(text) <= 400 else f"{text[:200]} … {text[-200:]}"


def moment_of(text: str | None, *, option: str) -> datetime | None:
    """The time that `--since` and `--until` mean; None for none, earliest and latest. Raises SettingsError."""
    found = None if text is None else moment(text, option=option)
    return found if isinstance(found, datetime) else None


def fields_of(texts: list[str] | None) -> dict[str, str]:
    """`--metadata line=3` → {"line": "3"}. Raises SettingsError."""
    fields = {}
    for text in texts or ():
        path, is_there, value = text.partition("=")
        if not is_there or not path:
            raise SettingsError(f"--metadata {text!r}: expected FIELD=VALUE")
        fields[path] = value
    return fields
