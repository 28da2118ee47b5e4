"""How are chosen rows shown and kept: as a table, as lines of JSON, as CSV, or as Parquet?

Rows stream from the files to where they go; what is held in memory are a few row groups, and the rows of a table.
"""

import base64
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import msgspec
import polars as pl

from consumer.audit.columns import OUTCOMES
from consumer.audit.library import Library
from consumer.audit.selection import Selection, selected

SHOWN = ("time", "kind", "job_id", "image", "found", "top_confidence", "model", "reason")
"""Columns of a table where none are asked for; `image` and `found` are made of others."""

_IMAGE = pl.format("s3://{}/{}", "bucket", "key").alias("image")
_FOUND = (
    pl.when(pl.col("count") > 0)
    .then(pl.format("{} ({})", pl.col("classes").list.join(", "), "count"))
    .when(pl.col("count") == 0)
    .then(pl.lit("nothing"))
    .alias("found")
)
COLUMNS = (*OUTCOMES, "image", "found")


def chosen(library: Library, topics: Sequence[str], selection: Selection) -> pl.LazyFrame:
    """The rows that are meant, with all columns and with `image` (s3://bucket/key) and `found` (names and count)."""
    return selected(library, topics, selection).with_columns(_IMAGE, _FOUND)


def first_rows(rows: pl.LazyFrame, columns: Sequence[str], *, sort: str, limit: int) -> tuple[pl.DataFrame, int]:
    """The first `limit` rows (0: all), ordered by a column (`-time`: the greatest first), and how many there are in
    all. Rows without a value in it come last."""
    count = int(rows.select(pl.len()).collect(engine="streaming").item())
    column, is_descending = sort.removeprefix("-"), sort.startswith("-")
    by = list(dict.fromkeys([column, "topic", "partition", "offset"]))
    needed = rows.select(*dict.fromkeys([*columns, *by]))
    if 0 < limit < count:  # no more than so many rows are kept while all are gone over
        needed = (needed.top_k if is_descending else needed.bottom_k)(limit, by=by)
    ordered = needed.sort(by, descending=is_descending, nulls_last=True)
    return ordered.collect(engine="streaming").select(columns), count


def counted(rows: pl.LazyFrame) -> pl.DataFrame:
    """How many rows of each kind, reason and set of weights, and how many detections of each class: `what`, `value`,
    `count`."""
    parts = [
        _count_by(rows, "kind"),
        _count_by(rows, "reason"),
        _count_by(rows, "model"),
        _count_by(rows.select(pl.col("detections").explode().struct.field("class_name").alias("class")), "class"),
    ]
    return pl.concat(part.collect(engine="streaming") for part in parts)


def _count_by(rows: pl.LazyFrame, column: str) -> pl.LazyFrame:
    counts = rows.select(column).drop_nulls().group_by(column).agg(pl.len().cast(pl.Int64).alias("count"))
    ordered = counts.sort("count", column, descending=[True, False])
    return ordered.select(pl.lit(column).alias("what"), pl.col(column).alias("value"), "count")


def lines(rows: pl.LazyFrame, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Each row for JSON: times as ISO 8601, bytes as text where they are UTF-8, else as base64 behind `base64:`."""
    for batch in rows.select(columns).collect_batches(chunk_size=5000, maintain_order=True):
        for row in batch.iter_rows(named=True):
            yield {name: _json_of(value) if name == "metadata" else _plain(value) for name, value in row.items()}


def write_csv(rows: pl.LazyFrame, columns: Sequence[str], out: IO[bytes]) -> None:
    """With a head line; what is no plain value in it is JSON text."""
    nested = [name for name in columns if isinstance(_kind(rows, name), pl.List | pl.Struct)]
    binary = [name for name in columns if _kind(rows, name) == pl.Binary]
    is_first = True
    for batch in rows.select(columns).collect_batches(chunk_size=5000, maintain_order=True):
        texts = [
            pl.Series(
                name, [None if value is None else as_text(value) for value in batch[name].to_list()], dtype=pl.String
            )
            for name in (*nested, *binary)
        ]
        out.write(batch.with_columns(texts).write_csv(include_header=is_first).encode())
        is_first = False
    if is_first:
        out.write((",".join(columns) + "\n").encode())


def write_parquet(rows: pl.LazyFrame, columns: Sequence[str], file: Path) -> None:
    rows.select(columns).sink_parquet(file)


def _kind(rows: pl.LazyFrame, name: str) -> Any:
    return rows.collect_schema()[name]


def as_text(value: Any) -> str:
    """As one cell shows it: what is no text is JSON."""
    plain = _plain(value)
    return plain if isinstance(plain, str) else msgspec.json.encode(plain).decode()


def _json_of(text: str | None) -> Any:
    try:
        return None if text is None else msgspec.Raw(msgspec.json.format(text.encode(), indent=-1))
    except msgspec.DecodeError:
        return text


def _plain(value: Any) -> Any:
    match value:
        case bytes():
            return _decoded(value)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case dict():
            return {name: _plain(part) for name, part in value.items()}
        case list():
            return [_plain(part) for part in value]
        case _:
            return value


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(value).decode()
