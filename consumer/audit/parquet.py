"""How do rows become the bytes of a Parquet file, and which offsets does such a file say that it covers?"""

import io
from dataclasses import dataclass
from typing import IO, Any

import polars as pl

from consumer import __version__

ROWS_PER_GROUP = 20_000
"""What a reader can skip by statistics, and has in memory at once."""

_PREFIX = "inspection."


class NotAnAuditFile(ValueError):
    """An object with the name of an audit file that is none, or that is damaged."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Which offsets of one partition a file covers: `begin` (where the file before ended) to before `end` (behind its
    last row). Offsets without a row in between are markers of transactions, aborted records, or compacted ones."""

    schema: str
    topic: str
    partition: int
    begin: int
    end: int
    rows: int


def to_parquet(frame: pl.DataFrame, extent: Extent, *, writer: str) -> bytes:
    """The file's bytes: zstd, row groups of 20,000, statistics; the extent stands in its metadata. The same rows and
    the same extent give the same bytes with the same version of polars."""
    buffer = io.BytesIO()
    frame.write_parquet(
        buffer, compression="zstd", statistics=True, row_group_size=ROWS_PER_GROUP, metadata=_metadata(extent, writer)
    )
    return buffer.getvalue()


def read_extent(source: str | bytes | IO[bytes], **options: Any) -> Extent:
    """Of a file's content, path or URL; of a URL its end alone is read. Raises NotAnAuditFile."""
    try:
        metadata = pl.read_parquet_metadata(io.BytesIO(source) if isinstance(source, bytes) else source, **options)
    except pl.exceptions.ComputeError as error:
        raise NotAnAuditFile(f"it is no Parquet file: {error}") from error
    try:
        return Extent(
            schema=metadata[f"{_PREFIX}schema"],
            topic=metadata[f"{_PREFIX}topic"],
            partition=int(metadata[f"{_PREFIX}partition"]),
            begin=int(metadata[f"{_PREFIX}begin"]),
            end=int(metadata[f"{_PREFIX}end"]),
            rows=int(metadata[f"{_PREFIX}rows"]),
        )
    except (KeyError, ValueError) as error:
        raise NotAnAuditFile(f"its metadata does not say which offsets it covers: {error}") from error


def timestamp_at(content: bytes, offset: int) -> int | None:
    """The time (ms since 1970) of the row with this offset, None where the file has none."""
    row = pl.scan_parquet(io.BytesIO(content)).filter(pl.col("offset") == offset)
    times = row.select(pl.col("time").dt.epoch("ms")).collect()["time"].to_list()
    return times[0] if times else None


def _metadata(extent: Extent, writer: str) -> dict[str, str]:
    said = {
        "schema": extent.schema,
        "topic": extent.topic,
        "partition": extent.partition,
        "begin": extent.begin,
        "end": extent.end,
        "rows": extent.rows,
        "version": __version__,
        "writer": writer,
    }
    return {f"{_PREFIX}{name}": str(value) for name, value in said.items()}
