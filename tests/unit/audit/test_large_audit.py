"""Is a day of a large audit read with the memory of a day, and a whole month proven with bounded memory?

Ten million jobs and results, as 240 files of 83,334 rows; `pytest -s` shows how long each command took.
"""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from consumer.audit.columns import JOBS_SCHEMA, OUTCOMES_SCHEMA, TIME
from consumer.audit.names import Folder
from consumer.audit.parquet import Extent, to_parquet
from consumer.audit.rows import job_rows, result_rows
from tests.rigs.audit_rows import JOBS, RESULTS, START, a_job_record, a_result_of, lying

DAYS, PARTITIONS, PER_FILE = 30, 4, 83_334
FIRST = START.replace(hour=0)
MODELLED = 1002  # rows that were made by the auditor's own parts; all others are theirs with other places
DAY = FIRST + timedelta(days=14)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@dataclass(frozen=True)
class Done:
    code: int
    output: str
    seconds: float
    peak_mb: float


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The time of a partition's rows goes evenly from midnight to midnight, an outcome comes with its job."""
    folder = tmp_path_factory.mktemp("month")
    records = [a_job_record(0, number, FIRST) for number in range(MODELLED)]
    jobs = repeated(job_rows(records))
    results = repeated(result_rows([lying(a_result_of(job), RESULTS, 0, job.offset, FIRST) for job in records]))
    for partition in range(PARTITIONS):
        for day in range(DAYS):
            begin, at = day * PER_FILE, FIRST + timedelta(days=day)
            write(folder, placed(jobs, JOBS, partition, begin, at), JOBS_SCHEMA, at)
            write(folder, sourced(placed(results, RESULTS, partition, begin, at)), OUTCOMES_SCHEMA, at)
    return folder


def repeated(rows: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([rows] * (PER_FILE // MODELLED + 1), rechunk=True).head(PER_FILE)


def placed(rows: pl.DataFrame, topic: str, partition: int, begin: int, at: datetime) -> pl.DataFrame:
    number = pl.int_range(pl.len(), dtype=pl.Int64)
    return rows.with_columns(
        topic=pl.lit(topic),
        partition=pl.lit(partition, dtype=pl.Int32),
        offset=number + begin,
        time=(pl.lit(at) + pl.duration(milliseconds=number * (86_400_000 // PER_FILE))).cast(TIME),
    )


def sourced(rows: pl.DataFrame) -> pl.DataFrame:
    """Of the job with the same place; names and digests are others in every row, as real ones are."""
    name = pl.format("part-{}-{}", "partition", "offset")
    digest = pl.concat_str([pl.format("{}{}", name, number).hash(number).cast(pl.String) for number in range(3)])
    return rows.with_columns(
        job_id=name,
        key=pl.format("line-{}/{}.jpg", "partition", "offset"),
        sha256=digest,
        etag=digest.str.head(32),
        result_id=digest.str.tail(32),
        source_partition="partition",
        source_offset="offset",
        source_time="time",
        total_ms=pl.col("total_ms") + pl.col("offset") % 977 / 100,
    )


def write(folder: Path, rows: pl.DataFrame, schema: str, at: datetime) -> None:
    topic, partition, begin = rows.row(0)[:3]
    place = Folder(topic, at.date(), partition)
    (folder / place.path).mkdir(parents=True, exist_ok=True)
    extent = Extent(schema, topic, partition, begin, begin + len(rows), len(rows))
    (folder / place.file(begin)).write_bytes(to_parquet(rows, extent, writer="test"))


def ask(month: Path, *arguments: str) -> Done:
    """`consumer audit …` as a process of its own; its memory is that which the kernel counted."""
    command = [sys.executable, "-m", "consumer", "audit", arguments[0], "--from", str(month), *arguments[1:]]
    began = time.monotonic()
    with (month.parent / "output").open("w+b") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        output = out.read().decode()
    done = Done(process.returncode, output, time.monotonic() - began, used.ru_maxrss / 1024)
    sys.stdout.write(f"audit {' '.join(arguments)}: {done.seconds:.1f} s, at most {done.peak_mb:.0f} MB\n")
    return done


def bounds(day: datetime) -> tuple[str, ...]:
    return "--since", day.isoformat(), "--until", (day + timedelta(days=1)).isoformat()


def test_a_day_of_ten_million_rows_is_queried_with_the_memory_of_a_day(month: Path) -> None:
    done = ask(month, "query", *bounds(DAY), "--class", "scratch", "--min-confidence", "0.9", "--format", "csv")

    assert done.code == 0, done.output[-2000:]
    results = pl.scan_parquet(month / f"topic={RESULTS}" / f"date={DAY.date()}" / "**" / "*.parquet")
    one = pl.element().struct
    is_meant = (one.field("class_name") == "scratch") & (one.field("confidence") >= 0.9)
    wanted = results.filter(pl.col("detections").list.eval(is_meant).list.any()).select(pl.len()).collect().item()
    assert done.output.count("\n") == wanted + 1
    assert wanted > 1000
    assert done.peak_mb < 1000


@pytest.mark.parametrize(
    "arguments",
    [("--count",), ("--sort", "-top_confidence", "--limit", "10"), ("--job", "part-3-2000000")],
    ids=["counts", "sorted", "one job"],
)
def test_a_month_is_queried_with_bounded_memory(month: Path, arguments: tuple[str, ...]) -> None:
    done = ask(month, "query", *arguments)

    assert done.code == 0, done.output[-2000:]
    assert done.peak_mb < 1500


def test_a_month_is_proven_with_bounded_memory(month: Path) -> None:
    done = ask(month, "reconcile")

    assert done.code == 0, done.output[-2000:]
    assert "10,000,080 jobs" in done.output
    assert done.peak_mb < 1500


def test_a_day_of_a_month_is_proven_by_itself(month: Path) -> None:
    done = ask(month, "reconcile", *bounds(DAY))

    assert done.code == 0, done.output[-2000:]
    assert "333,336 jobs" in done.output
    assert done.peak_mb < 1500
