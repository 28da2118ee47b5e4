"""What does a selection of outcomes look like at a glance: how many, of which classes, how sure, and when?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import polars as pl

from consumer.audit.rows import detections_of
from consumer.gallery import Chart, Fact, LostJob, Table
from consumer.messages import Detection, ImageReference

Pick = Literal["recent", "doubtful", "sure"]
"""Which results are shown as pictures: the newest, those with the least sure detection, or with the surest."""

BINS = 20
MOST_COLUMNS = 72
MOST_CLASSES = 9  # in a chart; the others are one
MOST_LETTERS = 500
OTHERS = "other classes"
STAGES = ("queue", "fetch", "decode", "detect", "total")

_STEPS = tuple(
    timedelta(seconds=seconds)
    for seconds in (1, 10, 60, 300, 900, 3600, 6 * 3600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400)
)


@dataclass(frozen=True, slots=True)
class Shown:
    """A result whose picture is to be shown; boxes are absolute pixels of the oriented original."""

    image: ImageReference
    sha256: str
    width: int
    height: int
    job_id: str
    place: str
    time: datetime
    model: str
    detections: tuple[Detection, ...]
    metadata: str | None


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything of the page but its pictures."""

    facts: tuple[Fact, ...]
    charts: tuple[Chart, ...]
    tables: tuple[Table, ...]
    letters: tuple[LostJob, ...]
    class_names: tuple[str, ...]
    span: str


def overview(rows: pl.LazyFrame) -> Overview:
    """Of rows of `columns.OUTCOMES`. They are gone over a few times; what is kept are counts."""
    totals = _totals(rows)
    classes = _counts(_detections(rows), "class_name")
    names = tuple(name for name, _ in classes)
    reasons = _counts(rows.filter(pl.col("kind") == "dead_letter"), "reason")
    charts = [
        *([_class_chart(classes)] if classes else []),
        *([_confidence_chart(rows, names)] if classes else []),
        *_time_charts(rows, totals, names),
    ]
    tables = [
        Table("Dead letters", ("reason", "jobs"), tuple((name, f"{count:,}") for name, count in reasons)),
        Table("Weights", ("name", "SHA-256", "engine", "results", "detections"), tuple(_models(rows))),
        Table("Milliseconds per image", ("stage", "p50", "p99"), tuple(_stages(rows))),
    ]
    return Overview(
        facts=_facts(totals),
        charts=tuple(charts),
        tables=tuple(table for table in tables if table.rows),
        letters=tuple(_letters(rows)),
        class_names=names[:MOST_CLASSES],
        span=_span(totals),
    )


def shown(rows: pl.LazyFrame, pick: Pick, count: int) -> list[Shown]:
    """The results whose pictures are wanted, the first one first."""
    results = rows.filter(pl.col("kind") == "result", pl.col("width") > 0, pl.col("height") > 0)
    if pick != "recent":
        results = results.filter(pl.col("count") > 0)
    least = pl.col("detections").list.eval(pl.element().struct.field("confidence")).list.min()
    order = {"recent": pl.col("time"), "sure": pl.col("top_confidence"), "doubtful": least}[pick]
    is_descending = pick != "doubtful"
    narrow = results.select(order.alias("_order"), "topic", "partition", "offset")
    best = (narrow.top_k if is_descending else narrow.bottom_k)(count, by=["_order", "topic", "partition", "offset"])
    wanted = best.collect(engine="streaming").sort(
        ["_order", "topic", "partition", "offset"], descending=[is_descending, False, False, False]
    )
    full = results.join(wanted.drop("_order").lazy(), on=["topic", "partition", "offset"], how="semi")
    found = {
        (row["topic"], row["partition"], row["offset"]): row
        for row in full.collect(engine="streaming").iter_rows(named=True)
    }
    return [shown_of(found[key]) for key in wanted.drop("_order").iter_rows() if key in found]


def shown_of(row: dict[str, Any]) -> Shown:
    """Of a row of a result."""
    return Shown(
        image=ImageReference(row["bucket"], row["key"], row["version_id"]),
        sha256=row["sha256"],
        width=row["width"],
        height=row["height"],
        job_id=row["job_id"],
        place=f"{row['source_topic']}/{row['source_partition']}/{row['source_offset']}",
        time=row["time"],
        model=f"{row['model']} {row['model_sha256'][:12]}",
        detections=detections_of(row["detections"]),
        metadata=row["metadata"],
    )


# --- counts -------------------------------------------------------------------------------------------------------


def _totals(rows: pl.LazyFrame) -> dict[str, Any]:
    is_result = pl.col("kind") == "result"
    frame = rows.select(
        is_result.sum().alias("results"),
        (pl.col("kind") == "dead_letter").sum().alias("letters"),
        (is_result & (pl.col("count") > 0)).sum().alias("with"),
        pl.col("count").sum().alias("detections"),
        pl.col("model_sha256").n_unique().alias("models"),
        pl.col("time").min().alias("first"),
        pl.col("time").max().alias("last"),
    )
    return frame.collect(engine="streaming").row(0, named=True)


def _facts(totals: dict[str, Any]) -> tuple[Fact, ...]:
    results, letters = totals["results"], totals["letters"]
    share = f"{totals['with'] / results:.1%} of the results" if results else ""
    return (
        Fact("Images inspected", f"{results:,}"),
        Fact("With detections", f"{totals['with']:,}", share),
        Fact("Detections", f"{totals['detections'] or 0:,}"),
        Fact("Dead letters", f"{letters:,}", f"{letters / (results + letters):.2%} of the jobs" if letters else ""),
    )


def _span(totals: dict[str, Any]) -> str:
    if totals["first"] is None:
        return "no outcomes"
    return f"{totals['first']:%Y-%m-%d %H:%M:%S} to {totals['last']:%Y-%m-%d %H:%M:%S} UTC"


def _detections(rows: pl.LazyFrame) -> pl.LazyFrame:
    """One row for each detection: time, class_name, confidence."""
    exploded = rows.filter(pl.col("count") > 0).select("time", "detections").explode("detections")
    fields = (pl.col("detections").struct.field(name) for name in ("class_name", "confidence"))
    return exploded.select("time", *fields)


def _counts(rows: pl.LazyFrame, column: str) -> list[tuple[str, int]]:
    """The most frequent first."""
    counted = rows.drop_nulls(column).group_by(column).agg(pl.len().alias("n"))
    return list(counted.sort("n", column, descending=[True, False]).collect(engine="streaming").iter_rows())


def _class_chart(classes: Sequence[tuple[str, int]]) -> Chart:
    shown_, rest = classes[: 3 * MOST_CLASSES], sum(count for _, count in classes[3 * MOST_CLASSES :])
    pairs = [*shown_, *([(OTHERS, rest)] if rest else [])]
    counts = tuple(count for _, count in pairs)
    return Chart("Detections by class", tuple(name for name, _ in pairs), (("detections", counts),), is_list=True)


def _confidence_chart(rows: pl.LazyFrame, names: Sequence[str]) -> Chart:
    bins = (pl.col("confidence") * BINS).floor().clip(0, BINS - 1).cast(pl.Int64).alias("bin")
    labels = tuple(f"{number / BINS:.2f} to {(number + 1) / BINS:.2f}" for number in range(BINS))
    return Chart("Detections by confidence", labels, _series(_detections(rows).with_columns(bins), names, BINS))


def _series(rows: pl.LazyFrame, names: Sequence[str], bins: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Counts by class and by the column `bin`; all but the first classes are one."""
    known = list(names[:MOST_CLASSES])
    name = pl.when(pl.col("class_name").is_in(known)).then("class_name").otherwise(pl.lit(OTHERS)).alias("name")
    counted = rows.group_by(name, "bin").agg(pl.len().alias("n")).collect(engine="streaming")
    values: dict[str, list[int]] = {one: [0] * bins for one in [*known, OTHERS]}
    for class_name, bin_, count in counted.iter_rows():
        values[class_name][bin_] = count
    return tuple((one, tuple(counts)) for one, counts in values.items() if one != OTHERS or any(counts))


def _time_charts(rows: pl.LazyFrame, totals: dict[str, Any], names: Sequence[str]) -> Iterator[Chart]:
    first, last = totals["first"], totals["last"]
    if first is None or first == last:
        return
    step = next((one for one in _STEPS if (last - first) / one < MOST_COLUMNS), _STEPS[-1])
    seconds = int(step.total_seconds())
    begin = int(first.timestamp()) // seconds * seconds
    bins = (int(last.timestamp()) - begin) // seconds + 1
    bin_ = ((pl.col("time").dt.epoch("s") - begin) // seconds).cast(pl.Int64).alias("bin")
    labels = tuple(_label(datetime.fromtimestamp(begin + number * seconds, UTC), step) for number in range(bins))
    if names:
        yield Chart("Detections over time", labels, _series(_detections(rows).with_columns(bin_), names, bins))
    kinds = {"result": "results", "dead_letter": "dead letters"}
    counted = rows.group_by("kind", bin_).agg(pl.len().alias("n")).collect(engine="streaming")
    values = {kind: [0] * bins for kind in kinds}
    for kind, number, count in counted.iter_rows():
        if kind in values:
            values[kind][number] = count
    yield Chart(
        "Outcomes over time",
        labels,
        tuple((kinds[kind], tuple(counts)) for kind, counts in values.items() if any(counts)),
    )


def _label(moment: datetime, step: timedelta) -> str:
    if step >= timedelta(days=1):
        return f"{moment:%Y-%m-%d}"
    return f"{moment:%m-%d %H:%M:%S}" if step < timedelta(minutes=1) else f"{moment:%m-%d %H:%M}"


def _models(rows: pl.LazyFrame) -> Iterator[tuple[str, ...]]:
    by = ["model", "model_sha256", "engine", "precision"]
    grouped = rows.filter(pl.col("kind") == "result").group_by(by).agg(pl.len().alias("n"), pl.col("count").sum())
    for row in grouped.sort("n", descending=True).collect(engine="streaming").iter_rows(named=True):
        engine = f"{row['engine']} {row['precision']}"
        yield row["model"], row["model_sha256"][:12], engine, f"{row['n']:,}", f"{row['count']:,}"


def _stages(rows: pl.LazyFrame) -> Iterator[tuple[str, ...]]:
    quantiles = [
        pl.col(f"{stage}_ms").quantile(share).alias(f"{stage}_{share}") for stage in STAGES for share in (0.5, 0.99)
    ]
    row = rows.select(quantiles).collect(engine="streaming").row(0, named=True)
    for stage in STAGES:
        middle, high = row[f"{stage}_0.5"], row[f"{stage}_0.99"]
        if middle is not None:
            yield stage, f"{middle:.1f}", f"{high:.1f}"


def _letters(rows: pl.LazyFrame) -> Iterator[LostJob]:
    """The newest ones, each with its job's place."""
    wanted = rows.filter(pl.col("kind") == "dead_letter").select(
        "time", "topic", "partition", "offset", "reason", "error_message", "bucket", "key", "job_id",
        pl.format("{}/{}/{}#{}", "source_topic", "source_partition", "source_offset", "source_index").alias("place"),
    )  # fmt: skip
    newest = wanted.top_k(MOST_LETTERS, by=["time", "topic", "partition", "offset"]).collect(engine="streaming")
    for row in newest.sort("time", descending=True).iter_rows(named=True):
        image = f"s3://{row['bucket']}/{row['key']}" if row["key"] is not None else ""
        yield LostJob(row["reason"] or "", row["error_message"] or "", image, row["place"] or row["job_id"] or "")
