"""Which rows does a person ask for? Predicates alone, so that Parquet's statistics can skip what cannot match."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import translate
from typing import Literal

import polars as pl

from consumer.audit.library import Library

Kind = Literal["result", "dead_letter", "foreign"]

_HEX = re.compile(r"[0-9a-f]{6,64}")
_OF_A_GLOB = re.compile(r"\*+|\[!?\]?[^\]]*\]|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Selection:
    """What is not set holds of every outcome. Classes and confidences are asked of one and the same detection: a
    scratch of at least 0.8 is not met by a scratch of 0.3 beside a dent of 0.9."""

    since: datetime | None = None
    until: datetime | None = None
    kind: Kind | None = None
    bucket: str | None = None
    key: str | None = None
    """A glob over the image's key; `*` takes slashes too."""
    job: str | None = None
    """A job id, or topic/partition/offset of its record."""
    model: str | None = None
    """Its name, or the beginning (six digits or more) of its SHA-256."""
    partition: int | None = None
    classes: tuple[str, ...] = ()
    min_confidence: float | None = None
    max_confidence: float | None = None
    reasons: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    """A path in the metadata (`line`, `camera.id`) → its value as text."""

    def of(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """The rows of `columns.OUTCOMES` that are meant."""
        for predicate in self._predicates():
            frame = frame.filter(predicate)
        return frame

    def _predicates(self) -> list[pl.Expr]:
        wanted = [
            pl.col(name) == value
            for name, value in (("kind", self.kind), ("bucket", self.bucket), ("partition", self.partition))
            if value is not None
        ]
        if self.since is not None:
            wanted.append(pl.col("time") >= self.since)
        if self.until is not None:
            wanted.append(pl.col("time") < self.until)
        if self.reasons:
            wanted.append(pl.col("reason").is_in(self.reasons))
        if self.job is not None:
            wanted.append((pl.col("job_id") == self.job) | _is_place(self.job))
        if self.model is not None:
            is_digest = _HEX.fullmatch(self.model) is not None
            by_name = pl.col("model") == self.model
            wanted.append(by_name | pl.col("model_sha256").str.starts_with(self.model) if is_digest else by_name)
        if self.key is not None:
            wanted.append(pl.col("key").str.contains(glob_pattern(self.key)))
        if self.classes or self.min_confidence is not None or self.max_confidence is not None:
            wanted.append(pl.col("detections").list.eval(self._of_a_detection()).list.any())
        wanted += [_metadata_at(path) == value for path, value in self.metadata.items()]
        return wanted

    def _of_a_detection(self) -> pl.Expr:
        one = pl.element()
        is_meant = pl.lit(value=True)
        if self.classes:
            is_meant &= one.struct.field("class_name").is_in(self.classes)
        if self.min_confidence is not None:
            is_meant &= one.struct.field("confidence") >= self.min_confidence
        if self.max_confidence is not None:
            is_meant &= one.struct.field("confidence") <= self.max_confidence
        return is_meant


def glob_pattern(glob: str) -> str:
    """The regular expression (of Rust's kind) for the whole of a text that a shell's pattern means."""
    return f"(?s)^{''.join(_expression(part) for part in _OF_A_GLOB.findall(glob))}$"


def _expression(part: str) -> str:
    """Of stars, one set of characters, or one character. Python's for a whole glob has atomic groups, which Rust does
    not know, nor does it know an unescaped bracket or an empty set."""
    if part.startswith("*"):
        return ".*"
    inner = translate(part).removeprefix("(?s:").removesuffix(")\\Z")
    if inner == "(?!)":
        return r"[^\s\S]"
    if len(part) > 1 and inner.startswith("["):
        return "[" + re.sub(r"(?<!\\)\[", r"\\[", inner[1:-1]) + "]"
    return inner


def selected(library: Library, topics: Sequence[str], selection: Selection) -> pl.LazyFrame:
    """The rows of these topics that are meant, from the files that may hold them."""
    rows = library.outcomes(topics, since=selection.since, until=selection.until, partition=selection.partition)
    return selection.of(rows)


def place_of(text: str) -> tuple[str, int, int] | None:
    """`topic/partition/offset`, None for a text that is no place."""
    topic, _, rest = text.partition("/")
    partition, _, offset = rest.partition("/")
    return (topic, int(partition), int(offset)) if partition.isdecimal() and offset.isdecimal() else None


def _is_place(text: str) -> pl.Expr:
    place = place_of(text)
    if place is None:
        return pl.lit(value=False)
    columns = zip(("source_topic", "source_partition", "source_offset"), place, strict=True)
    return pl.all_horizontal(*(pl.col(name) == value for name, value in columns))


def _metadata_at(path: str) -> pl.Expr:
    """As text: a string without its quotes, a number, true or false as JSON writes it."""
    steps = "".join(f"[{_quoted(step)}]" for step in path.split("."))
    return pl.col("metadata").str.json_path_match(f"${steps}")


def _quoted(step: str) -> str:
    escaped = step.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
