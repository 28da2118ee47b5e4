"""consumer audit query: which outcomes were there?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from consumer.commands.asking import ReasonCodes, show_page, warn
from consumer.commands.frame import AsJson, SettingsFile, console, ending, open_settings, write_line
from consumer.commands.selecting import (
    Bucket,
    Classes,
    From,
    JobName,
    KeyPattern,
    MaxConfidence,
    Metadata,
    MinConfidence,
    Model,
    Only,
    OutcomeTopics,
    Partition,
    Since,
    Until,
    open_audit,
    reading,
    selection_of,
)
from consumer.errors import SettingsError

if TYPE_CHECKING:
    import polars as pl

_BY_SUFFIX = {".csv": "csv", ".jsonl": "json", ".parquet": "parquet"}


class Format(StrEnum):
    """How rows are printed; the names of a command-line option."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def query(
    settings: SettingsFile = None,
    *,
    from_: From = None,
    topic: OutcomeTopics = None,
    since: Since = None,
    until: Until = None,
    only: Annotated[Only, typer.Option(help="Which kind of outcome.")] = Only.ALL,
    key: KeyPattern = None,
    bucket: Bucket = None,
    job: JobName = None,
    class_: Classes = None,
    min_confidence: MinConfidence = None,
    max_confidence: MaxConfidence = None,
    reason: ReasonCodes = None,
    model: Model = None,
    metadata: Metadata = None,
    partition: Partition = None,
    columns: Annotated[
        str | None,
        typer.Option(metavar="A,B,…", help="Which columns, or `all`; docs/audit.md lists them. Also: image, found."),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Order of the table; -COLUMN: the greatest first. [default: -time]"),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="So many rows; 0: all. [default: of a table 50, else all]")
    ] = None,
    count: Annotated[
        bool, typer.Option("--count", help="How many by kind, reason, weights and class, instead of rows.")
    ] = False,
    format_: Annotated[
        Format | None,
        typer.Option("--format", help="json: a line for each row. json and csv have all rows, in the files' order."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all rows to FILE.csv, FILE.jsonl or FILE.parquet.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show outcomes from the audit in S3: what was seen, where, when, with which weights, and what failed.

    Only the files of the days that are asked for are read, and of these only what is needed; memory is bounded.
    Classes and confidences are asked of one and the same detection.

    Exit codes: 0 done (also without a row), 1 a file cannot be read or written, 2 settings or arguments, 3 store not
    reachable.

    Example: consumer audit query --since 1d --class scratch --min-confidence 0.8 --metadata line=3
    """
    with ending():
        loaded = open_settings(settings, inspects=False)
        library = open_audit(loaded, from_)
        from consumer.audit.query import chosen, counted

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
            only=only,
            job=job,
            reason=reason,
        )
        wanted = _columns(columns)
        how = format_ or (Format.JSON if as_json else Format.TABLE)
        kind = _kind_of(output)
        is_table = how is Format.TABLE and output is None and not count
        if sort is not None and not is_table:
            raise SettingsError("--sort is for the table: other forms have the files' order")
        if sort is not None and sort.removeprefix("-") not in _known():
            raise SettingsError(f"--sort: there is no column {sort.removeprefix('-')}")
        if count and (output is not None or limit is not None):
            raise SettingsError("--count: neither --output nor --limit goes with it")
        topics = topic or [loaded.topics.results, loaded.topics.dead_letters]
        if not set(topics) & set(library.topics()):
            warn(f"audit {library.shelf.name} has no {' and no '.join(topics)}")
        with reading(library):
            rows = chosen(library, topics, selection)
            if limit and not is_table:
                rows = rows.head(limit)
            if count:
                _show_counts(counted(rows), how)
            elif output is not None:
                _write(rows, wanted, output, kind)
            elif is_table:
                _show_table(rows, columns=wanted, sort=sort or "-time", limit=50 if limit is None else limit)
            else:
                _print(rows, wanted, how)


def _known() -> tuple[str, ...]:
    from consumer.audit.query import COLUMNS

    return COLUMNS


def _columns(text: str | None) -> Sequence[str] | None:
    """Raises SettingsError for one that there is not."""
    from consumer.audit.columns import OUTCOMES

    if text is None:
        return None
    names = list(OUTCOMES) if text == "all" else [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in _known()]:
        raise SettingsError(f"--columns: there is no {', '.join(unknown)}; there are {', '.join(_known())}")
    return list(dict.fromkeys(names))


def _kind_of(output: Path | None) -> str:
    if output is None:
        return ""
    if output.suffix not in _BY_SUFFIX:
        raise SettingsError(f"--output {output}: expected a name that ends in {', '.join(_BY_SUFFIX)}")
    return _BY_SUFFIX[output.suffix]


def _show_table(rows: pl.LazyFrame, *, columns: Sequence[str] | None, sort: str, limit: int) -> None:
    from rich.table import Table

    from consumer.audit.query import SHOWN, first_rows

    wanted = columns or SHOWN
    frame, count = first_rows(rows, wanted, sort=sort, limit=limit)
    table = Table(box=None, pad_edge=False)
    for name in wanted:
        table.add_column(name, no_wrap=name in ("time", "kind"), overflow="fold")
    for row in frame.iter_rows(named=True):
        table.add_row(*(_cell(value) for value in row.values()))
    show_page(table)
    if count > len(frame):
        console.print(f"{len(frame):,} of {count:,} rows (--limit, --output)", style="dim", highlight=False)
    elif not count:
        console.print("no rows", style="dim")


def _cell(value: Any) -> Any:
    from rich.text import Text

    from consumer.audit.query import as_text
    from consumer.watching.outcome_lines import printable

    return Text("" if value is None else printable(as_text(value)))


def _show_counts(counts: pl.DataFrame, how: Format) -> None:
    from rich.table import Table

    if how is Format.JSON:
        for row in counts.iter_rows(named=True):
            write_line(row)
        return
    if how is Format.CSV:
        typer.echo(counts.write_csv(), nl=False)
        return
    table = Table(box=None, pad_edge=False)
    for name, justify in (("what", "left"), ("value", "left"), ("count", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for what, value, number in counts.iter_rows():
        table.add_row(what, _cell(value), f"{number:,}")
    show_page(table)


def _print(rows: pl.LazyFrame, columns: Sequence[str] | None, how: Format) -> None:
    from consumer.audit.columns import OUTCOMES
    from consumer.audit.query import lines, write_csv

    wanted = columns or list(OUTCOMES)
    if how is Format.CSV:
        write_csv(rows, wanted, sys.stdout.buffer)
        return
    for row in lines(rows, wanted):
        write_line(row)


def _write(rows: pl.LazyFrame, columns: Sequence[str] | None, file: Path, kind: str) -> None:
    import msgspec

    from consumer.audit.columns import OUTCOMES
    from consumer.audit.query import lines, write_csv, write_parquet

    wanted = columns or list(OUTCOMES)
    if kind == "parquet":
        write_parquet(rows, wanted, file)
        return
    with file.open("wb") as out:
        if kind == "csv":
            write_csv(rows, wanted, out)
        else:
            out.writelines(msgspec.json.encode(row) + b"\n" for row in lines(rows, wanted))
