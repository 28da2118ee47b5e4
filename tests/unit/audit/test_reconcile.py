"""Is every way in which an audit can fail to prove a day noticed, and none that is none?"""

import io
import json
import shutil
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from consumer.__main__ import app
from consumer.audit import reconcile as module
from consumer.audit.columns import JOBS_SCHEMA, OUTCOMES_SCHEMA
from consumer.audit.folder import FolderShelf
from consumer.audit.library import AuditFile, Library
from consumer.audit.names import first_offset_of
from consumer.audit.parquet import to_parquet
from consumer.audit.reconcile import Asked, Reconciliation, reconcile
from consumer.audit.rows import dead_letter_rows, job_rows, result_rows
from consumer.intake import contents_of
from consumer.messages import DeadLetter, Message, Record, encode_dead_letter
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
from tests.unit.audit.test_rows import EVENTS

ALL = Asked(JOBS, (RESULTS, DEAD_LETTERS))


def ask(folder: Path, **changes: Any) -> Reconciliation:
    asked = Asked(**{"jobs": JOBS, "outcomes": (RESULTS, DEAD_LETTERS)} | changes)
    return reconcile(Library(FolderShelf(folder)), asked)


def places(told: Reconciliation) -> Counter[tuple[str, str]]:
    return Counter((finding.kind, finding.place) for finding in told.findings)


def files(folder: Path, topic: str, partition: int = 0) -> list[AuditFile]:
    return Library(FolderShelf(folder)).files(topic, partition=partition)


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    """Two partitions of 250 jobs, every seventh a dead letter, in files of 100 rows; markers behind every ten."""
    write_audit(tmp_path, jobs=250, dead_every=7)
    return tmp_path


def test_an_audit_in_which_every_job_has_one_outcome_is_proven(audit: Path) -> None:
    told = ask(audit)

    assert told.is_proven
    assert told.found == {}
    assert (told.records, told.jobs, told.results, told.dead_letters) == (500, 500, 430, 70)


@pytest.mark.parametrize("window", [1, 7, 100, 10_000])
def test_windows_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    write_audit(tmp_path, jobs=30, without=[(0, 7), (1, 29)], twice=[(1, 14)], dead_every=9)
    monkeypatch.setattr(module, "WINDOW", window)

    told = ask(tmp_path)

    assert told.found == {"missing": 1, "open": 1, "duplicate": 1}
    assert (told.jobs, told.results + told.dead_letters) == (60, 59)


def test_a_withheld_outcome_is_named(tmp_path: Path) -> None:
    write_audit(tmp_path, jobs=50, without=[(0, 17), (1, 49)])

    told = ask(tmp_path)

    assert not told.is_proven
    assert places(told) == {("missing", f"{JOBS}/0/17#0"): 1, ("open", f"{JOBS}/1/49#0"): 1}


def test_what_is_open_may_be_allowed_and_what_is_missing_may_not(tmp_path: Path) -> None:
    write_audit(tmp_path / "open", jobs=50, without=[(1, 49)])
    write_audit(tmp_path / "missing", jobs=50, without=[(1, 48)])

    assert not ask(tmp_path / "open").is_proven
    assert ask(tmp_path / "open", may_be_open=True).is_proven
    assert not ask(tmp_path / "missing", may_be_open=True).is_proven


def test_a_second_outcome_is_named_with_both_places(tmp_path: Path) -> None:
    write_audit(tmp_path, jobs=50, twice=[(1, 17)])

    (finding,) = ask(tmp_path).findings

    assert (finding.kind, finding.place) == ("duplicate", f"{JOBS}/1/17#0")
    assert f"{RESULTS}/1/18, {RESULTS}/1/19" in finding.message


def test_an_outcome_of_no_job_is_named(audit: Path) -> None:
    """The file of jobs was written anew without one of them: it still says that it covers its offset."""
    (_, second, _) = files(audit, JOBS)
    frame = pl.read_parquet(audit / second.path).filter(pl.col("offset") != 150)
    rewrite(audit, second, frame)

    told = ask(audit)

    assert places(told) == {("altered", second.path): 1, ("unexpected", f"{RESULTS}/0/{lies_at(audit, 150)}"): 1}
    assert "inspection.jobs/0/150#0" in told.findings[1].message


def rewrite(folder: Path, file: AuditFile, frame: pl.DataFrame) -> None:
    extent = Library(FolderShelf(folder)).extent(file)
    (folder / file.path).write_bytes(to_parquet(frame, extent, writer="somebody else"))


def lies_at(folder: Path, job: int) -> int:
    outcomes = Library(FolderShelf(folder)).outcomes([RESULTS], partition=0)
    return int(outcomes.filter(pl.col("source_offset") == job).select("offset").collect().item())


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("topic", [JOBS, RESULTS])
def test_a_file_that_is_gone_is_named(audit: Path, topic: str, which: int) -> None:
    lost = files(audit, topic)[which]
    (audit / lost.path).unlink()

    told = ask(audit)

    assert ("gap", lost.path) in places(told)
    assert told.found["gap"] == 1
    assert ("missing" in told.found) == (topic == RESULTS)
    assert "unexpected" not in told.found


def test_a_gap_is_named_without_manifests_too(audit: Path) -> None:
    first, second, third = files(audit, RESULTS)
    (audit / second.path).unlink()
    for manifest in audit.rglob("_manifest.json"):
        manifest.unlink()

    told = ask(audit)

    assert ("gap", third.path) in places(told)
    assert first_offset_of(first.name) == 0
    assert told.found["missing"] == 100


@pytest.mark.parametrize("topic", [JOBS, RESULTS])
def test_a_doubled_file_is_an_overlap_and_its_rows_count_once(audit: Path, topic: str) -> None:
    first, second, _ = files(audit, topic)
    copy = audit / second.path.replace(second.name, f"{topic}+0+00000000000000000999.parquet")
    shutil.copy(audit / second.path, copy)

    told = ask(audit)

    assert told.found == {"overlap": 1}
    assert (told.jobs, told.results, told.dead_letters) == (500, 430, 70)
    assert first.name not in told.findings[0].place


@pytest.mark.parametrize("topic", [JOBS, RESULTS])
@pytest.mark.parametrize("spoil", ["head", "data", "all"])
def test_a_file_that_cannot_be_read_is_named_and_the_rest_is_looked_at(audit: Path, topic: str, spoil: str) -> None:
    _, second, _ = files(audit, topic)
    content = bytearray((audit / second.path).read_bytes())
    if spoil == "data":
        content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)
    else:
        content[-8 if spoil == "head" else 0 :] = b"xxxxxxxx"
    (audit / second.path).write_bytes(content)

    told = ask(audit)

    assert ("unreadable", second.path) in places(told)
    assert told.jobs == (500 if topic == RESULTS else 400)


def test_a_range_of_offsets_of_one_partition_is_proven_by_itself(tmp_path: Path) -> None:
    write_audit(tmp_path, jobs=300, without=[(0, 17), (1, 120)])

    assert ask(tmp_path, partition=0, begin=18).is_proven
    assert ask(tmp_path, partition=0, begin=10, end=17).is_proven
    assert places(ask(tmp_path, partition=0, begin=10, end=18)) == {("missing", f"{JOBS}/0/17#0"): 1}
    assert ask(tmp_path, partition=0, begin=10, end=17).jobs == 7


def test_a_range_of_time_is_that_of_the_jobs(tmp_path: Path) -> None:
    write_audit(tmp_path, jobs=300, partitions=1, step=timedelta(minutes=10), without=[(0, 17)])
    at = START + 17 * timedelta(minutes=10)

    assert ask(tmp_path, since=at + timedelta(seconds=1)).is_proven
    assert ask(tmp_path, until=at).is_proven
    told = ask(tmp_path, since=at, until=at + timedelta(hours=1))
    assert (told.jobs, told.found) == (6, {"missing": 1})


def test_late_outcomes_are_findings_where_they_are_asked_for(tmp_path: Path) -> None:
    write_audit(tmp_path, jobs=20, partitions=1, latency=timedelta(seconds=30))

    assert ask(tmp_path).is_proven
    assert ask(tmp_path, late=timedelta(seconds=30)).is_proven
    told = ask(tmp_path, late=timedelta(seconds=29))
    assert told.found == {"late": 20}
    assert not told.is_proven


def write_jobs_and(folder: Path, jobs: list[Record], messages: list[tuple[Message, bool]]) -> None:
    """The jobs of one partition, and outcomes: True says that it is a dead letter."""
    write_files(folder, jobs, JOBS_SCHEMA, job_rows)
    for topic, is_dead, rows in ((RESULTS, False, result_rows), (DEAD_LETTERS, True, dead_letter_rows)):
        chosen = [message for message, dead in messages if dead is is_dead]
        lies = [lying(message, topic, 0, number, START) for number, message in enumerate(chosen)]
        write_files(folder, lies, OUTCOMES_SCHEMA, rows)


def several(offset: int) -> Record:
    """A record of two jobs (0 and 2) and a removal."""
    return Record(JOBS, 0, offset, int(START.timestamp() * 1000), None, EVENTS)


def test_each_job_of_a_record_of_several_has_an_outcome_of_its_own(tmp_path: Path) -> None:
    record = several(5)
    write_jobs_and(tmp_path, [record], [(a_result_of(record, index=0), False), second_of(record)])

    told = ask(tmp_path)

    assert told.is_proven, told.findings
    assert (told.records, told.jobs, told.skipped, told.results, told.dead_letters) == (1, 2, 1, 1, 1)


def second_of(record: Record) -> tuple[Message, bool]:
    """The dead letter of the event's third object, its second job."""
    job = contents_of(record).jobs[1]
    return encode_dead_letter(DeadLetter(record, job.job_id, "image_not_found", "fetch", "gone", index=job.index)), True


def test_one_of_several_that_has_none_is_named_by_its_index(tmp_path: Path) -> None:
    record, plain = several(5), a_job_record(0, 6, START)
    write_jobs_and(tmp_path, [record, plain], [second_of(record), (a_result_of(plain), False)])

    assert places(ask(tmp_path)) == {("missing", f"{JOBS}/0/5#0"): 1}


def test_a_record_of_skipped_events_needs_no_outcome(tmp_path: Path) -> None:
    test_event = b'{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-03-01T08:00:00Z","Bucket":"parts"}'
    skipped = Record(JOBS, 0, 0, int(START.timestamp() * 1000), None, test_event)
    plain = a_job_record(0, 1, START)
    write_jobs_and(tmp_path, [skipped, plain], [(a_result_of(plain), False)])

    told = ask(tmp_path)

    assert told.is_proven
    assert (told.records, told.jobs, told.skipped) == (2, 1, 1)


def test_a_redriven_job_is_a_job_of_its_own(tmp_path: Path) -> None:
    """The second of an event's jobs failed; its redrive opens that one alone, on a new offset."""
    record = several(5)
    redriven = Record(
        JOBS, 0, 9, record.timestamp_ms, None, EVENTS, (("inspection-job-id", b"x/2"), ("inspection-job-index", b"2"))
    )
    once_more = (a_result_of(redriven), False)
    write_jobs_and(tmp_path, [record, redriven], [(a_result_of(record, index=0), False), second_of(record), once_more])
    told = ask(tmp_path)

    assert told.is_proven, told.findings
    assert (told.jobs, told.results, told.dead_letters) == (3, 2, 1)


def test_outcomes_of_jobs_that_the_audit_does_not_hold_yet_are_told_and_no_failure(tmp_path: Path) -> None:
    jobs = [a_job_record(0, offset, START) for offset in range(10)]
    write_jobs_and(tmp_path, jobs[:8], [(a_result_of(job), False) for job in jobs])

    told = ask(tmp_path)

    assert told.is_proven
    assert told.found == {"ahead": 1}
    assert "2 outcomes" in told.findings[0].message


def test_outcomes_before_the_first_job_that_the_files_cover_are_of_no_job(tmp_path: Path) -> None:
    jobs = [a_job_record(0, offset, START) for offset in range(10)]
    write_jobs_and(tmp_path, jobs[2:], [(a_result_of(job), False) for job in jobs])

    assert ask(tmp_path).found == {"unexpected": 2}


def test_records_that_are_no_outcomes_are_told_and_no_failure(audit: Path) -> None:
    stranger = Record("inspection.results", 7, 0, int(START.timestamp() * 1000), None, b"hello")
    write_files(audit, [stranger], OUTCOMES_SCHEMA, result_rows)

    told = ask(audit)

    assert told.is_proven
    assert places(told) == {("foreign", f"{RESULTS}/7/0"): 1}


def test_no_more_findings_are_kept_than_are_wanted_and_all_are_counted(tmp_path: Path) -> None:
    write_audit(tmp_path, jobs=50, partitions=1, without=[(0, number) for number in range(0, 40, 2)])

    told = reconcile(Library(FolderShelf(tmp_path)), ALL, limit=3)

    assert (len(told.findings), told.found) == (3, {"missing": 20})


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["audit", "reconcile", *arguments])
    return done.exit_code, done.output


def test_the_command_says_proven_and_ends_with_0(audit: Path) -> None:
    code, output = run("--from", str(audit))

    assert code == 0
    assert "500 jobs in 500 records (0 events skipped), 430 results, 70 dead letters" in output
    assert "proven: every job has exactly one outcome" in output


def test_the_command_names_what_it_found_and_ends_with_1(tmp_path: Path) -> None:
    write_audit(tmp_path, jobs=50, without=[(0, 17)])

    code, output = run("--from", str(tmp_path))
    assert code == 1
    assert "inspection.jobs/0/17#0" in output
    assert "not proven: 1 jobs without an outcome" in output

    code, output = run("--from", str(tmp_path), "--json")
    assert code == 1
    told = json.load(io.StringIO(output.splitlines()[0]))
    assert told["is_proven"] is False
    assert told["findings"][0]["place"] == "inspection.jobs/0/17#0"


def test_the_command_knows_its_topics(audit: Path) -> None:
    code, output = run("--from", str(audit), "--jobs", "elsewhere")

    assert code == 2
    assert "has no jobs of topic elsewhere" in output
