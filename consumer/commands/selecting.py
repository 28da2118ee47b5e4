"""The options by which a person chooses rows of an audit, shared by the commands that read one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands.asking import a_number
from consumer.errors import SettingsError

if TYPE_CHECKING:
    from consumer.audit.library import Library
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
Partition = Annotated[int | None, typer.Option(metavar="N", min=0, help="Of the outcome's topic.")]


def open_audit(settings: Settings, place: str | None) -> Library:
    """The audit that is meant. Raises SettingsError, also where what reads Parquet is not installed."""
    try:
        from consumer.auditing.place import open_library
    except ModuleNotFoundError as error:
        if error.name not in ("polars", "cryptography"):
            raise
        raise SettingsError(f"{error.name} is not installed: pip install 'inspection-consumer[audit]'") from error
    return open_library(settings, place)


def moment_of(text: str | None, *, option: str) -> datetime | None:
    """The time that `--since` and `--until` mean; None for none, earliest and latest. Raises SettingsError."""
    from consumer.watching.moments import read_moment

    if text is None:
        return None
    try:
        found = read_moment(text, now=datetime.now(UTC))
    except ValueError as error:
        raise SettingsError(f"{option}: {error}") from error
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
