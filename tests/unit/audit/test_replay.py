"""Is an audited job published once more as it was, and nowhere where it must not be?"""

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from typer.testing import CliRunner, Result

from consumer.audit.columns import OUTCOMES_SCHEMA
from consumer.audit.folder import FolderShelf
from consumer.audit.jobs import AuditedJob, jobs_of
from consumer.audit.library import Library
from consumer.audit.rows import dead_letter_rows, result_rows
from consumer.audit.selection import Selection
from consumer.auditing.replay import again
from consumer.commands.audit_replay import replay
from consumer.intake import contents_of
from consumer.messages import ImageReference, JobParameters, Record
from tests.rigs.audit_rows import (
    DEAD_LETTERS,
    JOBS,
    RESULTS,
    START,
    a_dead_letter_of,
    a_job_record,
    a_result_of,
    lying,
    write_audit,
    write_files,
)

JOB = AuditedJob(
    (JOBS, 3, 17, 2),
    "part-17",
    b"line-3",
    ImageReference("parts", "line 3/ü.jpg", "v1"),
    "a" * 64,
    msgspec.Raw(b'{"line": 3, "n": 1.0}'),
    JobParameters(0.3, 0.6, 50, (2, 5)),
)
app = typer.Typer()
app.command("replay")(replay)


@app.callback()
def nothing() -> None:
    """Else Typer would make the only command the whole app."""


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONSUMER_SETTINGS", raising=False)
    monkeypatch.setenv("CONSUMER__KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 jobs, every tenth a dead letter, in files of 8."""
    folder = tmp_path_factory.mktemp("audit")
    write_audit(folder, jobs=30, partitions=2, per_file=8, dead_every=10)
    return folder


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["replay", "--from", str(folder), *arguments])


def shown(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    result = run(folder, "--to", "candidate.jobs", "--dry-run", "--json", *arguments)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def chosen(folder: Path, left_out: Counter[str] | None = None) -> list[AuditedJob]:
    counts: Counter[str] = Counter() if left_out is None else left_out
    return list(jobs_of(Library(FolderShelf(folder)), [RESULTS, DEAD_LETTERS], Selection(), counts))


# --- the job ------------------------------------------------------------------------------------------------------


def test_a_job_is_published_as_it_was_and_says_which_it_repeats() -> None:
    record = again(JOB, "settings")

    (job,) = contents_of(Record("candidate.jobs", 0, 5, 0, record.key, record.value, record.headers)).jobs
    assert (job.job_id, job.image, job.record.key) == ("part-17", JOB.image, b"line-3")
    assert bytes(job.metadata) == b'{"line": 3, "n": 1.0}'  # type: ignore[arg-type]
    assert job.parameters == JobParameters()
    assert record.headers == (
        ("content-type", b"application/json"),
        ("inspection-replay-of", f"{JOBS}/3/17/2".encode()),
        ("inspection-replay-sha256", b"a" * 64),
    )


def test_original_parameters_are_pinned_where_that_is_asked_for() -> None:
    record = again(JOB, "original")

    (job,) = contents_of(Record("candidate.jobs", 0, 5, 0, record.key, record.value, record.headers)).jobs
    assert job.parameters == JOB.parameters


def test_what_is_not_known_is_left_out() -> None:
    bare = replace(JOB, image=ImageReference("parts", "a.jpg"), sha256=None, metadata=None, parameters=JobParameters())

    record = again(bare, "original")

    assert json.loads(record.value) == {
        "schema": "inspection.job/1",
        "job_id": "part-17",
        "image": {"bucket": "parts", "key": "a.jpg"},
    }
    assert [name for name, _ in record.headers] == ["content-type", "inspection-replay-of"]


# --- which jobs ---------------------------------------------------------------------------------------------------


def test_all_jobs_are_chosen_in_their_order_with_what_their_outcomes_say(audit: Path) -> None:
    jobs = chosen(audit)

    assert [job.place for job in jobs] == [(JOBS, p, n, 0) for p in range(2) for n in range(30)]
    result, dead = jobs[3], jobs[9]
    assert result.parameters == JobParameters(0.25, 0.7, 300, None)
    assert (result.sha256 is None, dead.sha256 is None) == (False, True)
    assert dead.image == ImageReference("parts", "line-0/000009.jpg")
    assert dead.parameters == JobParameters()
    assert {bytes(job.metadata or b"") for job in jobs[:30]} == {b'{"line": 0, "shift": "early"}'}


def test_the_original_of_a_dead_letter_says_what_the_job_had_asked_for(tmp_path: Path) -> None:
    job = a_job_record(0, 0, START)
    asked = json.loads(job.value or b"") | {"parameters": {"confidence": 0.4, "classes": ["dent"]}}
    letter = a_dead_letter_of(replace(job, value=json.dumps(asked).encode()))
    write_files(tmp_path, [lying(letter, DEAD_LETTERS, 0, 0, START)], OUTCOMES_SCHEMA, dead_letter_rows)

    (found,) = chosen(tmp_path)

    assert found.parameters == JobParameters(confidence=0.4, classes=("dent",))


def test_a_job_with_two_outcomes_is_chosen_once(tmp_path: Path) -> None:
    """They were delivered at least once; or a file lies there twice."""
    job = a_job_record(0, 0, START)
    records = [lying(a_result_of(job), RESULTS, 0, n, START + timedelta(seconds=n)) for n in range(2)]
    write_files(tmp_path, records, OUTCOMES_SCHEMA, result_rows, per_file=1)

    assert [job.job_id for job in chosen(tmp_path)] == ["part-0-0"]


def test_jobs_without_a_known_image_are_counted_and_foreign_records_are_passed_over(tmp_path: Path) -> None:
    job = a_job_record(0, 0, START)
    letter = lying(a_dead_letter_of(job), DEAD_LETTERS, 0, 0, START)
    torn = replace(letter, offset=1, value=b"{broken", headers=(*letter.headers, ("__connect.errors.offset", b"1")))
    foreign = replace(letter, offset=2, headers=())
    write_files(tmp_path, [letter, torn, foreign], OUTCOMES_SCHEMA, dead_letter_rows)
    left_out: Counter[str] = Counter()

    assert [job.job_id for job in chosen(tmp_path, left_out)] == ["part-0-0"]
    assert left_out == {"dead_letter": 1}
    result = run(tmp_path, "--to", "candidate.jobs", "--dry-run")
    assert "1 job left out: they became dead letters before their image was known" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ([], 60),
        (["--key", "line-1/*"], 30),
        (["--partition", "0"], 30),
        (["--only", "dead-letters"], 6),
        (["--only", "results"], 54),
        (["--reason", "image_not_found"], 6),
        (["--class", "dent"], 18),
        (["--metadata", "line=1"], 30),
        (["--since", "2026-03-01T08:00:10.1Z", "--until", "2026-03-01T08:00:20.1Z"], 20),
        (["--job", "part-1-7"], 1),
        (["--limit", "7"], 7),
    ],
)
def test_filters_choose_the_jobs(audit: Path, arguments: list[str], count: int) -> None:
    assert len(shown(audit, *arguments)) == count


def test_a_dry_run_shows_the_records_and_sends_nothing(audit: Path) -> None:
    (record,) = shown(audit, "--job", "part-1-7", "--parameters", "original")

    assert record["replay_of"] == f"{JOBS}/1/7/0"
    assert record["key"] == "line-1"
    assert record["value"]["parameters"] == {"confidence": 0.25, "iou": 0.7, "max_detections": 300}
    assert run(audit, "--to", "x", "--dry-run").stderr == "60 jobs would be sent to x; nothing was\n"


# --- where to -----------------------------------------------------------------------------------------------------


def test_it_does_not_publish_onto_the_topic_that_the_jobs_came_from(
    audit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by the settings nor, where these are a candidate's, by the outcomes."""
    by_settings = run(audit, "--to", JOBS, "--dry-run")
    monkeypatch.setenv("CONSUMER__TOPICS__JOBS", "candidate.jobs")
    by_outcomes = run(audit, "--to", JOBS, "--dry-run")
    by_their_settings = run(audit, "--to", "candidate.jobs", "--dry-run")
    told = run(audit, "--to", JOBS, "--dry-run", "--into-production")

    for refused in (by_settings, by_outcomes, by_their_settings):
        assert refused.exit_code == 2
        assert " is where real jobs lie: its consumers would do these again" in refused.stderr
    assert told.exit_code == 0


@pytest.mark.parametrize("topic", [RESULTS, DEAD_LETTERS])
def test_it_never_publishes_onto_a_topic_of_outcomes(audit: Path, topic: str) -> None:
    result = run(audit, "--to", topic, "--dry-run", "--into-production")

    assert result.exit_code == 2
    assert result.stderr == f"error: --to: {topic} is a topic of outcomes\n"


def test_an_audit_in_which_nothing_is_chosen_does_not_need_a_broker_to_say_so(audit: Path) -> None:
    result = run(audit, "--to", "candidate.jobs", "--key", "nothing/*")

    assert result.exit_code == 1
    assert result.stderr.startswith("error: no job of inspection.results, inspection.dead-letters was chosen")
