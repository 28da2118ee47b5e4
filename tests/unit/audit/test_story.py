"""Is a job's story whole: every job of its name, its record, and all that came of it?"""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from consumer.__main__ import app
from consumer.audit.columns import JOBS_SCHEMA, OUTCOMES_SCHEMA
from consumer.audit.folder import FolderShelf
from consumer.audit.library import Library
from consumer.audit.rows import job_rows, result_rows
from consumer.audit.story import Asked, Story, stories
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


def tell(folder: Path, job: str) -> list[Story]:
    return stories(Library(FolderShelf(folder)), Asked(job, JOBS, (RESULTS, DEAD_LETTERS)))


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit")
    write_audit(folder, jobs=30, dead_every=9, without=[(0, 20)], twice=[(1, 21)])
    return folder


def test_a_result_is_told_with_its_record_its_replica_and_its_detections(audit: Path) -> None:
    (story,) = tell(audit, "part-1-7")

    assert (story.place, story.job_id) == ("inspection.jobs/1/7#0", "part-1-7")
    assert story.published is not None
    assert (story.published.time, story.published.record_key) == (START + timedelta(seconds=7), "line-1")
    (outcome,) = story.outcomes
    assert (outcome.kind, outcome.place, outcome.worker) == ("result", "inspection.results/1/7", "replica-1")
    assert outcome.timings_ms == {"queue": 1.5, "fetch": 3.25, "decode": 2.0, "detect": 20.5, "total": 30.0}
    assert outcome.detections is not None
    assert [one.class_name for one in outcome.detections] == ["hole"]
    assert outcome.reference is not None
    assert outcome.reference.uri == outcome.image == "s3://parts/line-1/000007.jpg"


@pytest.mark.parametrize("name", ["inspection.jobs/1/7", "inspection.jobs/1/7#0"])
def test_a_place_tells_the_same_as_the_id(audit: Path, name: str) -> None:
    assert tell(audit, name) == tell(audit, "part-1-7")


def test_a_dead_letter_is_told_with_its_reason_and_its_original(audit: Path) -> None:
    (story,) = tell(audit, "part-0-8")

    (outcome,) = story.outcomes
    assert (outcome.kind, outcome.reason, outcome.stage, outcome.retryable) == (
        "dead_letter", "image_not_found", "fetch", True,
    )  # fmt: skip
    assert outcome.original is not None
    assert '"job_id": "part-0-8"' in outcome.original


def test_a_job_without_an_outcome_and_one_with_two_are_told_as_they_are(audit: Path) -> None:
    assert tell(audit, "part-0-20")[0].outcomes == ()
    assert len(tell(audit, "part-1-21")[0].outcomes) == 2


def test_all_jobs_of_one_id_are_told_the_earliest_first(tmp_path: Path) -> None:
    jobs = [a_job_record(0, offset, START - timedelta(hours=offset), job_id="twice") for offset in range(3)]
    write_files(tmp_path, jobs[:2], JOBS_SCHEMA, job_rows)
    outcomes = [lying(a_result_of(job), RESULTS, 0, number, START) for number, job in enumerate(jobs)]
    write_files(tmp_path, outcomes, OUTCOMES_SCHEMA, result_rows)

    told = tell(tmp_path, "twice")

    assert [story.place for story in told] == [f"inspection.jobs/0/{offset}#0" for offset in (1, 0, 2)]
    assert [story.published is None for story in told] == [False, False, True]


def test_one_of_several_jobs_of_a_record_is_told_by_its_index(tmp_path: Path) -> None:
    record = replace(a_job_record(0, 5, START), value=EVENTS)
    write_files(tmp_path, [record], JOBS_SCHEMA, job_rows)
    outcome = lying(a_result_of(record, index=1), RESULTS, 0, 0, START)
    write_files(tmp_path, [outcome], OUTCOMES_SCHEMA, result_rows)

    both, one = tell(tmp_path, "inspection.jobs/0/5"), tell(tmp_path, "inspection.jobs/0/5#2")

    assert [(story.place, len(story.outcomes)) for story in both] == [
        ("inspection.jobs/0/5#0", 0),
        ("inspection.jobs/0/5#2", 1),
    ]
    assert one == both[1:]
    assert one[0].published is not None
    assert one[0].published.others == 1


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["audit", "explain", *arguments])
    return done.exit_code, done.output


def test_the_command_tells_the_story_for_people_and_for_programs(audit: Path) -> None:
    code, output = run("part-1-7", "--from", str(audit))
    assert code == 0
    for words in (
        "published   2026-03-01 08:00:07.000 UTC, key line-1",
        "hole 0.740 at 10, 20, 90.5, 120.25",
        "replica-1",
    ):
        assert words in output

    code, output = run("part-1-7", "--from", str(audit), "--json")
    assert (code, json.loads(output)["outcomes"][0]["detections"][0]["class_name"]) == (0, "hole")
    assert "none yet" in run("part-0-20", "--from", str(audit))[1]
    assert "2 of them: more than one" in run("part-1-21", "--from", str(audit))[1]
    assert "image_not_found (fetch, 1 attempts)" in run("part-0-8", "--from", str(audit))[1]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("nobody",), 1, "knows no job nobody"),
        (("part-1-7", "--picture", "x.gif"), 2, "--picture x.gif: expected a name that ends in"),
        (("part-0-8", "--check"), 1, "no result whose image could be looked at"),
    ],
)
def test_what_cannot_be_told_is_one_line(audit: Path, arguments: tuple[str, ...], code: int, says: str) -> None:
    found, output = run(*arguments, "--from", str(audit))

    assert found == code
    assert says in output
