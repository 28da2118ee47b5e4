"""Do the recipes of docs/audit.md read an audit from outside, as they stand there?"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from consumer.audit.columns import JOBS as JOBS_COLUMNS
from consumer.audit.columns import OUTCOMES
from consumer.audit.folder import FolderShelf
from consumer.audit.library import Library
from tests.rigs.audit_rows import DEAD_LETTERS, JOBS, RESULTS, write_audit

PAGE = Path(__file__).parents[3] / "docs" / "audit.md"
PLACE = "s3://inspection-audit/audit/v1"
DAY = datetime(2026, 3, 2, tzinfo=UTC)
NAMES = {
    pl.String(): "string",
    pl.Int32(): "int",
    pl.Int64(): "bigint",
    pl.Float64(): "double",
    pl.Boolean(): "boolean",
    pl.Binary(): "binary",
    pl.Datetime("ms", "UTC"): "timestamp",
}


def recipes(title: str) -> list[str]:
    """The blocks of code below a heading."""
    section = PAGE.read_text(encoding="utf-8").partition(f"\n### {title}\n")[2]
    section = re.split(r"^#{2,3} ", section, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^```\w+\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four days of two lines; job 7 of line 1 has no outcome and job 9 two."""
    folder = tmp_path_factory.mktemp("audit")
    step = timedelta(minutes=20)
    write_audit(folder, jobs=240, step=step, per_file=50, dead_every=12, without=[(1, 7)], twice=[(1, 9)])
    return folder


@pytest.fixture(scope="module")
def day_alone(tmp_path_factory: pytest.TempPathFactory, audit: Path) -> Path:
    """The same names; files of other days than 2 and 3 March cannot be read."""
    folder = tmp_path_factory.mktemp("day")
    for file in audit.rglob("*.parquet"):
        is_near = file.parent.parent.name in ("date=2026-03-02", "date=2026-03-03")
        copy = folder / file.relative_to(audit)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes() if is_near else b"not to be read")
    return folder


def found_on(day: datetime, audit: Path) -> list[tuple[Any, ...]]:
    """What the first two recipes are to give, counted row by row."""
    confidences: dict[tuple[str, str], list[float]] = {}
    for row in Library(FolderShelf(audit)).outcomes([RESULTS]).collect().iter_rows(named=True):
        for one in row["detections"]:
            if day <= row["time"] < day + timedelta(days=1) and one["confidence"] >= 0.5:
                confidences.setdefault((str(row["source_partition"]), one["class_name"]), []).append(one["confidence"])
    assert confidences
    return [
        (*who, len(numbers), pytest.approx(sum(numbers) / len(numbers), abs=0.001))
        for who, numbers in sorted(confidences.items())
    ]


def test_duckdb_counts_a_day_and_reads_no_other(audit: Path, day_alone: Path) -> None:
    recipe = recipes("DuckDB")[0]

    for folder in (audit, day_alone):
        assert duckdb.execute(recipe.replace(PLACE, str(folder))).fetchall() == found_on(DAY, audit)


def test_duckdb_finds_the_jobs_that_have_not_exactly_one_outcome(audit: Path) -> None:
    found = duckdb.execute(recipes("DuckDB")[1].replace(PLACE, str(audit))).fetchall()

    assert found == [(JOBS, 1, 7, 0, 0), (JOBS, 1, 9, 0, 2)]


def test_polars_counts_a_day_and_reads_no_other(audit: Path, day_alone: Path) -> None:
    (recipe,) = recipes("Polars")

    for folder in (audit, day_alone):
        names: dict[str, Any] = {}
        exec(recipe.replace(PLACE, str(folder)), names)  # a text of our own page
        assert names["found"].rows() == found_on(DAY, audit)


@pytest.mark.parametrize(("number", "schema"), [(0, OUTCOMES), (1, JOBS_COLUMNS)], ids=["outcomes", "jobs"])
def test_athenas_columns_are_those_of_the_files(number: int, schema: pl.Schema) -> None:
    listed = re.findall(r"^  `(\w+)` (.+?),?$", recipes("Athena")[number], flags=re.MULTILINE)

    assert listed == [(column, said(kind)) for column, kind in schema.items()]


def said(kind: Any) -> str:
    match kind:
        case pl.List():
            return f"array<{said(kind.inner)}>"
        case pl.Struct():
            return f"struct<{', '.join(f'{field.name}: {said(field.dtype)}' for field in kind.fields)}>"
        case _:
            return NAMES[kind]


@pytest.mark.parametrize(("number", "topics"), [(0, {RESULTS, DEAD_LETTERS}), (1, {JOBS})], ids=["outcomes", "jobs"])
def test_athena_makes_the_folders_of_the_files_out_of_its_partitions(
    number: int, topics: set[str], audit: Path
) -> None:
    ddl = recipes("Athena")[number]
    said = dict(re.findall(r"'([\w.]+)' = '(.+?)'", ddl))
    template = said["storage.location.template"]
    names = said.get("projection.outcome_topic.values", JOBS).split(",")
    first, last = said["projection.day.range"].split(",")

    assert set(names) == topics
    assert (said["projection.enabled"], said["projection.day.format"], last) == ("true", "yyyy-MM-dd", "NOW+1DAYS")
    assert set(re.findall(r"projection\.(\w+)\.type", ddl)) == set(re.findall(r"\$\{(\w+)\}", template))
    for folder in days_of(audit, topics):
        assert f"{PLACE}/{folder}/" in {
            template.replace("${outcome_topic}", name).replace("${day}", folder.rpartition("=")[2]) for name in names
        }
        assert first <= folder.rpartition("=")[2]


def days_of(audit: Path, topics: set[str]) -> Iterator[str]:
    for topic in topics:
        folders = sorted(folder.relative_to(audit).as_posix() for folder in (audit / f"topic={topic}").iterdir())
        assert len(folders) == 4
        yield from folders


def test_athenas_partition_columns_are_no_columns_of_the_files() -> None:
    """One name twice is an error there."""
    for ddl in recipes("Athena")[:2]:
        (partitions,) = re.findall(r"PARTITIONED BY \((.+?)\)", ddl)
        assert not {*re.findall(r"`(\w+)`", partitions)} & {*OUTCOMES, *JOBS_COLUMNS}


def test_below_a_topic_lies_nothing_that_athena_would_take_for_parquet(audit: Path) -> None:
    """It reads every object of a folder, but for those whose names begin with `_` or a dot."""
    strangers = {file.name for file in audit.rglob("*") if file.is_file() and file.suffix != ".parquet"}

    assert all(name.startswith(("_", ".")) for name in strangers)


def test_what_athena_is_asked_is_answered_by_such_a_table(audit: Path) -> None:
    """DuckDB in its place, with the partition's columns made of the paths."""
    files = [f"{audit}/topic={topic}/*/*/*.parquet" for topic in (RESULTS, DEAD_LETTERS)]
    table = f"""CREATE VIEW inspection_outcomes AS SELECT *, strftime(date, '%Y-%m-%d') AS day
        FROM read_parquet({files}, hive_partitioning = true, union_by_name = true)"""
    rows = Library(FolderShelf(audit)).outcomes([RESULTS, DEAD_LETTERS], since=DAY, until=DAY + timedelta(days=1))
    reasons = rows.collect()["reason"]

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(table)
        found = connection.execute(recipes("Athena")[2]).fetchall()

    assert [row[:4] for row in found] == [
        ("result", "parts-yolo26n", None, reasons.null_count()),
        ("dead_letter", None, "image_not_found", reasons.count()),
    ]
