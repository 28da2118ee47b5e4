"""Does an audit prove or show too much, where it is asked for what it does not hold, or meets what nobody expects?"""

import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from consumer.__main__ import app
from consumer.audit.columns import JOBS_SCHEMA, OUTCOMES_SCHEMA
from consumer.audit.folder import FolderShelf
from consumer.audit.library import Library
from consumer.audit.parquet import to_parquet
from consumer.audit.reconcile import Asked, Reconciliation, reconcile
from consumer.audit.rows import dead_letter_rows, job_rows, result_rows
from consumer.messages import DeadLetter, Record, encode_dead_letter
from tests.rigs.audit_rows import (
    DEAD_LETTERS,
    JOBS,
    RESULTS,
    START,
    a_job_record,
    a_result_of,
    lying,
    write_audit,
    write_files,
)

pytestmark = pytest.mark.thorough


def ask(folder: Path, **changes: Any) -> Reconciliation:
    return reconcile(
        Library(FolderShelf(folder)), Asked(**{"jobs": JOBS, "outcomes": (RESULTS, DEAD_LETTERS)} | changes)
    )


def run(command: str, *arguments: Any) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["audit", command, *map(str, arguments)])
    return done.exit_code, done.output


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    write_audit(tmp_path, jobs=250, dead_every=7)
    return tmp_path


def test_a_partition_that_the_audit_does_not_hold_is_not_proven(audit: Path) -> None:
    code, output = run("reconcile", "--from", audit, "--partition", 9)
    assert code != 0, output


@pytest.mark.parametrize("arguments", [("--to-offset", 10_000), ("--from-offset", 300, "--to-offset", 400)])
def test_offsets_that_the_audit_does_not_hold_are_not_proven(audit: Path, arguments: tuple[Any, ...]) -> None:
    code, output = run("reconcile", "--from", audit, "--partition", 0, *arguments)
    assert code != 0, output


@pytest.mark.parametrize(
    "arguments",
    [
        ("--from-offset", 30, "--to-offset", 20),
        ("--since", "2026-03-02", "--until", "2026-03-01"),
        ("--since", "2027-01-01"),
    ],
)
def test_nothing_is_not_proven(audit: Path, arguments: tuple[Any, ...]) -> None:
    code, output = run("reconcile", "--from", audit, *arguments)
    assert code != 0, output


def test_a_partition_whose_jobs_are_all_gone_is_not_proven(audit: Path) -> None:
    for folder in audit.glob(f"topic={JOBS}/date=*/partition=1"):
        shutil.rmtree(folder)
    assert not ask(audit).is_proven


def test_an_outcomes_topic_that_the_audit_does_not_hold_is_told(audit: Path) -> None:
    code, output = run("reconcile", "--from", audit, "--outcomes", "typo", "--allow-open")
    assert code == 2, output


def test_a_day_that_lies_between_offsets_of_an_earlier_one_is_no_gap(tmp_path: Path) -> None:
    """Producers choose timestamps: day D, then D+5, then D again."""
    days = [0] * 10 + [5] * 10 + [0] * 10
    jobs = [a_job_record(0, offset, START + timedelta(days=day)) for offset, day in enumerate(days)]
    outcomes = [lying(a_result_of(job), RESULTS, 0, job.offset, START) for job in jobs]
    for number in range(3):
        part = slice(number * 10, number * 10 + 10)
        write_files(tmp_path, jobs[part], JOBS_SCHEMA, job_rows, begin=number * 10)
    write_files(tmp_path, outcomes, OUTCOMES_SCHEMA, result_rows)
    for manifest in tmp_path.rglob("*manifest.json"):
        manifest.unlink()
    assert ask(tmp_path).is_proven, ask(tmp_path).findings
    told = ask(tmp_path, until=START + timedelta(days=1))
    assert told.is_proven, told.findings


@pytest.mark.parametrize("index", ["99999999999", "-1", "x", "4294967296"])
def test_a_record_that_says_any_index_has_the_one_dead_letter_that_it_has(tmp_path: Path, index: str) -> None:
    ms = int(START.timestamp() * 1000)
    job = Record(JOBS, 0, 0, ms, None, b"{", (("inspection-job-index", index.encode()),))
    letter = encode_dead_letter(DeadLetter(job, "x", "schema_invalid", "intake", "no"))
    write_files(tmp_path, [job], JOBS_SCHEMA, job_rows)
    write_files(tmp_path, [lying(letter, DEAD_LETTERS, 0, 0, START)], OUTCOMES_SCHEMA, dead_letter_rows)
    told = ask(tmp_path)
    assert told.is_proven, told.findings


def test_a_job_that_is_withheld_with_its_outcome_is_seen_by_the_files_own_count(audit: Path) -> None:
    library = Library(FolderShelf(audit))
    for topic, column in ((JOBS, "offset"), (RESULTS, "source_offset")):
        for file in library.files(topic, partition=0):
            rows = pl.read_parquet(audit / file.path)
            (audit / file.path).write_bytes(
                to_parquet(rows.filter(pl.col(column) != 150), library.extent(file), writer="x")
            )
    assert not ask(audit).is_proven


def test_a_day_is_that_of_utc_whatever_zone_was_asked_in(tmp_path: Path) -> None:
    """A row of 23:59 lies behind one of the next day in one file."""
    at = datetime(2026, 3, 4, tzinfo=UTC)
    jobs = [a_job_record(0, 0, at), a_job_record(0, 1, at - timedelta(hours=19))]
    write_files(tmp_path, jobs, JOBS_SCHEMA, job_rows)
    until = (at - timedelta(hours=18)).astimezone(timezone(timedelta(hours=-11)))

    rows = Library(FolderShelf(tmp_path)).jobs(JOBS, until=until).collect()

    assert rows["offset"].to_list() == [1]


@pytest.mark.parametrize(
    "glob",
    [
        "*line*/*.jpg",
        "l*-1/0*0*.jpg",
        "*[!2]/*",
        "**/*.jpg",
        "line-[a-]*/*",
        "*[[]*",
        "*[a[]*",
        "*[^]*",
        "*[]]*",
        "*[!]]*",
        "[[-a]*",
        "*[\\d]*",
        "?",
        "[z-a]*",
        "*[&&-]*",
        "[*",
        "a{1}*(",
    ],
)
def test_a_glob_of_several_stars_is_understood(audit: Path, glob: str) -> None:
    code, output = run("query", "--from", audit, "--key", glob, "--count")
    assert code == 0, output


@pytest.mark.parametrize(
    "arguments",
    [
        ("--sort", "detections"),
        ("--sort", "classes"),
        ("--sort", "record_key"),
        ("--sort", "class_filter"),
        ("--columns", "time,time"),
        ("--columns", ""),
        ("--sort", ""),
        ("--sort", "--time"),
        ("--sort", "image"),
        ("--columns", "found", "--sort", "found"),
        ("--columns", "all"),
    ],
)
def test_every_column_can_be_shown_and_sorted_or_is_refused_as_an_argument(
    audit: Path, arguments: tuple[str, ...]
) -> None:
    code, output = run("query", "--from", audit, *arguments)
    assert code in (0, 2), output


@pytest.mark.parametrize("how", ["json", "csv"])
def test_a_limit_holds_for_every_format(audit: Path, how: str) -> None:
    code, output = run("query", "--from", audit, "--format", how, "--limit", 3)
    assert code == 2 or output.count("\n") <= 4


def test_counts_are_not_written_to_a_file_that_is_not_there(audit: Path, tmp_path: Path) -> None:
    code, _ = run("query", "--from", audit, "--count", "--output", tmp_path / "x.csv")
    assert code == 2 or (tmp_path / "x.csv").exists()


def test_a_doubled_foreign_record_is_told_once(audit: Path) -> None:
    stranger = Record(RESULTS, 7, 0, int(START.timestamp() * 1000), None, b"hello")
    write_files(audit, [stranger], OUTCOMES_SCHEMA, result_rows)
    (file,) = Library(FolderShelf(audit)).files(RESULTS, partition=7)
    shutil.copy(audit / file.path, audit / file.path.replace("00.parquet", "09.parquet"))
    assert ask(audit).found == {"overlap": 1, "foreign": 1}


def test_a_job_outside_of_the_time_asked_for_is_not_told(tmp_path: Path) -> None:
    times = [0, 100, 0]  # offset 1 is of another day
    jobs = [a_job_record(0, offset, START + timedelta(hours=hours)) for offset, hours in enumerate(times)]
    write_files(tmp_path, jobs[:1], JOBS_SCHEMA, job_rows)
    write_files(tmp_path, jobs[1:2], JOBS_SCHEMA, job_rows, begin=1)
    write_files(tmp_path, jobs[2:], JOBS_SCHEMA, job_rows, begin=2)
    messages = [a_result_of(jobs[number]) for number in (0, 1, 1, 2)]
    write_files(
        tmp_path, [lying(m, RESULTS, 0, n, START) for n, m in enumerate(messages)], OUTCOMES_SCHEMA, result_rows
    )
    for manifest in tmp_path.rglob("*manifest.json"):
        manifest.unlink()
    told = ask(tmp_path, since=START - timedelta(hours=1), until=START + timedelta(days=20))
    assert told.found == {"duplicate": 1}
    told = ask(tmp_path, since=START - timedelta(hours=1), until=START + timedelta(hours=1))
    assert "duplicate" not in told.found, told.findings
    assert "unexpected" not in told.found, told.findings


@pytest.mark.parametrize("number", [b"99999999999", b"99999999999999999999999"])
def test_a_class_id_that_no_column_holds_stops_no_auditor(number: bytes) -> None:
    plain = lying(a_result_of(a_job_record(0, 1, START)), RESULTS, 0, 0, START)
    odd = replace(plain, value=re.sub(rb'"class_id":\d+', b'"class_id":' + number, plain.value or b""))

    rows = result_rows([odd, plain])

    assert rows["kind"].to_list() == ["result", "result"]
    assert [row[0]["class_id"] for row in rows["detections"].to_list()] == [None, 1]
