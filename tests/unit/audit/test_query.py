"""Does a query show the rows that are meant, in each form, from no more files than it needs?"""

import csv
import io
import json
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from consumer.__main__ import app
from consumer.audit.columns import OUTCOMES, OUTCOMES_SCHEMA
from consumer.audit.folder import FolderShelf
from consumer.audit.library import Library
from consumer.audit.rows import dead_letter_rows
from consumer.messages import DeadLetter, Record, encode_dead_letter
from tests.rigs.audit_rows import DEAD_LETTERS, RESULTS, START, lying, write_audit, write_files


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two partitions of 90 jobs, every ninth a dead letter."""
    folder = tmp_path_factory.mktemp("audit")
    write_audit(folder, jobs=90, dead_every=9)
    return folder


def run(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["audit", "query", *map(str, arguments)])
    return done.exit_code, done.output


def rows(audit: Path, *arguments: str) -> list[dict[str, object]]:
    code, output = run("--from", audit, "--format", "json", *arguments)
    assert code == 0, output
    return [json.loads(line) for line in output.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ((), 180),
        (("--only", "results"), 160),
        (("--only", "dead-letters"), 20),
        (("--reason", "image_not_found"), 20),
        (("--key", "line-1/*"), 90),
        (("--bucket", "other"), 0),
        (("--partition", "0"), 90),
        (("--job", "part-1-7"), 1),
        (("--job", "inspection.jobs/1/7"), 1),
        (("--model", "parts-yolo26n"), 160),
        (("--model", "555555"), 160),
        (("--metadata", "line=1", "--metadata", "shift=early"), 90),
        (("--since", "2026-03-01T08:01:00Z"), 60),
        (("--until", "2026-03-01T08:01:00Z"), 120),
        (("--topic", RESULTS), 160),
    ],
)
def test_each_filter_takes_the_rows_that_are_meant(audit: Path, arguments: tuple[str, ...], count: int) -> None:
    assert len(rows(audit, *arguments)) == count


def test_classes_and_confidences_are_asked_of_one_detection(audit: Path) -> None:
    for row in rows(audit, "--class", "dent", "--min-confidence", "0.6", "--max-confidence", "0.8"):
        detections = row["detections"]
        assert isinstance(detections, list)
        assert any(one["class_name"] == "dent" and 0.6 <= one["confidence"] <= 0.8 for one in detections)


def test_a_line_of_json_has_every_column_and_metadata_as_json(audit: Path) -> None:
    (row,) = rows(audit, "--job", "part-1-7")

    assert list(row) == list(OUTCOMES)
    assert row["metadata"] == {"line": 1, "shift": "early"}
    assert row["time"] == "2026-03-01T08:00:07.300000Z"
    assert row["record_key"] == "line-1"
    (dead,) = rows(audit, "--job", "part-1-8")
    assert str(dead["original"]).startswith('{"schema": "inspection.job/1"')


def test_bytes_that_are_no_text_are_base64(tmp_path: Path) -> None:
    record = Record("inspection.jobs", 0, 0, int(START.timestamp() * 1000), b"\xff\x00", b"\xfe\xff")
    message = encode_dead_letter(DeadLetter(record, "x", "schema_invalid", "intake", "not UTF-8"))
    write_files(tmp_path, [lying(message, DEAD_LETTERS, 0, 0, START)], OUTCOMES_SCHEMA, dead_letter_rows)

    (row,) = rows(tmp_path)

    assert (row["record_key"], row["original"]) == ("base64:/wA=", "base64:/v8=")


def test_csv_has_a_head_line_and_nested_values_as_json(audit: Path) -> None:
    code, output = run("--from", audit, "--format", "csv", "--columns", "job_id,detections,original,time,found")

    read = list(csv.DictReader(io.StringIO(output)))
    assert code == 0
    assert len(read) == 180
    one = next(row for row in read if row["job_id"] == "part-0-1")
    assert json.loads(one["detections"])[0]["class_name"] == "hole"
    assert one["found"] == "hole (1)"
    assert next(row for row in read if row["job_id"] == "part-0-8")["original"].startswith("{")


def test_csv_of_nothing_is_its_head_line(audit: Path) -> None:
    assert run("--from", audit, "--format", "csv", "--columns", "job_id,time", "--job", "none") == (0, "job_id,time\n")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_rows_are_written_to_files(audit: Path, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"rows.{suffix}"

    code, output = run("--from", audit, "--output", file, "--class", "dent")

    assert (code, output) == (0, "")
    frame = pl.read_parquet(file) if suffix == "parquet" else None
    written = len(file.read_text().splitlines()) - (suffix == "csv") if frame is None else len(frame)
    assert written == len(rows(audit, "--class", "dent"))


def test_a_table_has_the_newest_rows_and_says_how_many_there_are(audit: Path) -> None:
    code, output = run("--from", audit, "--limit", "2")

    assert code == 0
    assert output.splitlines()[1].startswith("2026-03-01T08:01:29.300000Z  dead_letter  part-1-89")
    assert output.splitlines()[-1] == "2 of 180 rows (--limit, --output)"


@pytest.mark.parametrize("sort", ["top_confidence", "-top_confidence"])
def test_a_table_is_sorted_and_rows_without_the_value_come_last(audit: Path, sort: str) -> None:
    _, output = run("--from", audit, "--limit", "0", "--sort", sort, "--columns", "top_confidence,job_id")
    shown = [line.split() for line in output.splitlines()[1:]]
    numbers = [float(row[0]) for row in shown if len(row) == 2]

    assert numbers == sorted(numbers, reverse=sort.startswith("-"))
    assert [len(row) for row in shown] == [2] * len(numbers) + [1] * (len(shown) - len(numbers))
    assert len(shown) == 180


def test_counts_are_by_kind_reason_weights_and_class(audit: Path) -> None:
    code, output = run("--from", audit, "--count", "--format", "json")

    counts = {(row["what"], row["value"]): row["count"] for row in map(json.loads, output.splitlines())}
    assert code == 0
    assert counts["kind", "result"] == 160
    assert counts["reason", "image_not_found"] == 20
    assert counts["class", "dent"] == sum(
        one["class_name"] == "dent"
        for row in rows(audit, "--only", "results")
        for one in row["detections"]  # type: ignore[attr-defined]
    )


def test_a_day_among_many_opens_that_day_s_files_and_its_neighbours_alone(tmp_path: Path) -> None:
    """All others are made unreadable."""
    write_audit(tmp_path, jobs=60, partitions=1, step=timedelta(hours=24))
    since = START + timedelta(days=30)
    near = {(since + timedelta(days=number)).date() for number in (-1, 0, 1, 2)}
    for file in Library(FolderShelf(tmp_path)).files(RESULTS):
        if file.folder.date not in near:
            (tmp_path / file.path).write_bytes(b"not to be opened")

    assert len(rows(tmp_path, "--since", since.isoformat(), "--until", (since + timedelta(days=1)).isoformat())) == 1
    code, output = run("--from", tmp_path, "--format", "json")
    assert code == 1
    assert "cannot be read" in output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--columns", "job_id,colour"), "--columns: there is no colour"),
        (("--sort", "-colour"), "--sort: there is no column colour"),
        (("--output", "rows.xlsx"), "--output rows.xlsx: expected a name that ends in .csv, .jsonl, .parquet"),
        (("--reason", "nothing_of_ours"), "--reason: there is no nothing_of_ours"),
        (("--since", "soon"), "--since: 'soon' is no time"),
        (("--metadata", "line"), "--metadata 'line': expected FIELD=VALUE"),
    ],
)
def test_what_cannot_be_asked_is_one_line_and_2(audit: Path, arguments: tuple[str, ...], says: str) -> None:
    code, output = run("--from", audit, *arguments)

    assert code == 2
    assert says in output


def test_an_audit_that_is_not_there_is_told(tmp_path: Path) -> None:
    code, output = run("--from", tmp_path / "none")
    assert (code, "there is no such folder" in output) == (2, True)

    code, output = run("--from", tmp_path)
    assert (code, f"has no {RESULTS}" in output) == (0, True)


def test_nothing_in_a_row_steers_the_terminal(tmp_path: Path) -> None:
    record = Record(
        "inspection.jobs", 0, 0, int(START.timestamp() * 1000), None, b"x", (("inspection-job-id", b"\x1b[31mred"),)
    )
    message = encode_dead_letter(DeadLetter(record, "\x1b[31mred", "schema_invalid", "intake", "no"))
    write_files(tmp_path, [lying(message, DEAD_LETTERS, 0, 0, START)], OUTCOMES_SCHEMA, dead_letter_rows)

    _, output = run("--from", tmp_path)

    assert "\x1b" not in output
    assert "red" in output
