"""Is each way named in which two inspections of the same jobs differ, and does a threshold decide the exit code?"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from consumer.audit.columns import OUTCOMES_SCHEMA
from consumer.audit.diff import Example, Inspection, compare
from consumer.audit.folder import FolderShelf
from consumer.audit.library import Library
from consumer.audit.rows import dead_letter_rows, result_rows
from consumer.audit.selection import Selection
from consumer.auditing.diff_pictures import draw_examples
from consumer.commands.audit_diff import diff
from consumer.errors import SettingsError
from consumer.images.files import LocalFiles
from consumer.messages import Detection, ImageReference, Record
from consumer.settings import ImageSettings
from tests.rigs.audit_rows import (
    DEAD_LETTERS,
    RESULTS,
    START,
    a_dead_letter_of,
    a_job_record,
    a_result_of,
    lying,
    write_files,
)

pytestmark = pytest.mark.thorough

CANDIDATE = ("candidate.results", "candidate.dead-letters")
OTHERS = ["--candidate", CANDIDATE[0], "--candidate", CANDIDATE[1]]
app = typer.Typer()
app.command("diff")(diff)


@app.callback()
def nothing() -> None:
    """Else Typer would make the only command the whole app."""


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONSUMER_SETTINGS", raising=False)
    monkeypatch.setenv("COLUMNS", "300")


def a(class_name: str = "dent", confidence: float = 0.8, left: float = 10.0) -> Detection:
    return Detection(0, class_name, confidence, (left, 10.0, left + 100, 110.0))


@dataclass(frozen=True)
class Seen:
    """What one inspection made of a job: None is a dead letter."""

    detections: Sequence[Detection] | None = ()
    job_id: str | None = None
    key: int | None = None
    sha256: str | None = None


def write(folder: Path, outcomes: Sequence[Seen | None], *, is_candidate: bool = False, start: int = 0) -> Path:
    """The n-th is of the job n; None is left out. The candidate's jobs lie on another topic, behind others."""
    topics = CANDIDATE if is_candidate else (RESULTS, DEAD_LETTERS)
    records: tuple[list[Record], list[Record]] = ([], [])
    for number, seen in enumerate(outcomes):
        if seen is None:
            continue
        at = START + timedelta(seconds=start + number)
        named = a_job_record(0, number if seen.key is None else seen.key, at, job_id=seen.job_id or f"part-{number}")
        place = ("candidate.jobs", 500 + number) if is_candidate else (named.topic, start + number)
        job = replace(named, topic=place[0], offset=place[1])
        is_dead = seen.detections is None
        message = a_dead_letter_of(job) if is_dead else a_result_of(job, detections=seen.detections)
        if seen.sha256 is not None:
            body = json.loads(message.value or b"")
            body["image"]["sha256"] = seen.sha256
            message = replace(message, value=json.dumps(body).encode())
        lies = records[is_dead]
        lies.append(lying(message, topics[is_dead], 0, start + len(lies), at))
    write_files(folder, records[0], OUTCOMES_SCHEMA, result_rows)
    write_files(folder, records[1], OUTCOMES_SCHEMA, dead_letter_rows)
    return folder


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["diff", "--from", str(folder), *arguments])


def told(folder: Path, *arguments: str) -> dict[str, Any]:
    result = run(folder, "--json", *OTHERS, *arguments)
    fields: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (1 if fields["exceeded"] or not fields["compared"] else 0), result.stderr
    return fields


def counted(counts: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


# --- what is named ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "candidate", "changes"),
    [
        ([a()], [a()], {}),
        ([a()], [], {"vanished": 1}),
        ([], [a()], {"appeared": 1}),
        ([a()], [a("hole")], {"class_changed": 1}),
        ([a()], [a(left=30.0)], {"moved": 1}),
        ([a()], [a(confidence=0.6)], {"shifted": 1}),
        ([a()], [a(confidence=0.75, left=12.0)], {}),
        ([a()], [a("hole", 0.5, 30.0)], {"class_changed": 1, "moved": 1, "shifted": 1}),
    ],
    ids=["nothing", "vanished", "appeared", "class", "moved", "shifted", "a little", "all of it"],
)
def test_what_changed_in_a_job_is_named(
    tmp_path: Path, base: list[Detection], candidate: list[Detection], changes: dict[str, int]
) -> None:
    write(tmp_path, [Seen([a("scratch", left=300.0)]), Seen(base)])
    write(tmp_path, [Seen([a("scratch", left=300.0)]), Seen(candidate)], is_candidate=True)

    fields = told(tmp_path)

    assert counted(fields["changes"]) == changes
    assert counted(fields["jobs"]) == ({"same": 1, "changed": 1} if changes else {"same": 2})
    assert fields["changed_ratio"] == (0.5 if changes else 0)
    assert [one["job_id"] for one in fields["examples"]] == (["part-1"] if changes else [])


def test_how_far_is_too_far_is_a_matter_of_options(tmp_path: Path) -> None:
    write(tmp_path, [Seen([a()])])
    write(tmp_path, [Seen([a(confidence=0.6, left=30.0)])], is_candidate=True)

    assert counted(told(tmp_path)["changes"]) == {"moved": 1, "shifted": 1}
    assert counted(told(tmp_path, "--moved", "0.6", "--shift", "0.3")["changes"]) == {}
    assert counted(told(tmp_path, "--overlap", "0.8")["changes"]) == {"vanished": 1, "appeared": 1}


def test_jobs_that_became_dead_letters_and_the_reverse_are_named_with_their_reason(tmp_path: Path) -> None:
    write(tmp_path, [Seen([a()]), Seen(None), Seen(None), Seen([])])
    write(tmp_path, [Seen(None), Seen([a()]), Seen(None), Seen([])], is_candidate=True)

    fields = told(tmp_path)

    assert counted(fields["jobs"]) == {"same": 1, "died": 1, "recovered": 1, "still_dead": 1}
    assert fields["changed_ratio"] == 0.5
    died, recovered = fields["examples"]
    assert (died["kind"], recovered["kind"]) == ("died", "recovered")
    assert died["fact"] == "image_not_found: image s3://parts/line-0/000000.jpg does not exist"
    assert died["base_place"] == f"{RESULTS}/0/0"
    assert died["candidate_place"] == "candidate.dead-letters/0/0"


def test_images_with_other_bytes_are_set_apart_and_not_compared(tmp_path: Path) -> None:
    write(tmp_path, [Seen([a()]), Seen([a()])])
    write(tmp_path, [Seen([a()]), Seen([], sha256="0" * 64)], is_candidate=True)

    fields = told(tmp_path)

    assert counted(fields["jobs"]) == {"same": 1, "different_bytes": 1}
    assert counted(fields["changes"]) == {}
    assert fields["compared"] == 1


def test_jobs_of_one_side_alone_are_counted(tmp_path: Path) -> None:
    write(tmp_path, [Seen(), Seen(), None])
    write(tmp_path, [Seen(), None, Seen()], is_candidate=True)

    assert counted(told(tmp_path)["jobs"]) == {"same": 1, "missing": 1, "extra": 1}


def test_a_class_that_became_another_is_counted_in_its_row_and_by_name(tmp_path: Path) -> None:
    write(tmp_path, [Seen([a(), a("hole", left=300.0)]), Seen([a()])])
    write(tmp_path, [Seen([a("hole"), a("hole", left=300.0)]), Seen([])], is_candidate=True)

    fields = told(tmp_path)

    dent, hole = fields["classes"]["dent"], fields["classes"]["hole"]
    assert (dent["base"], dent["candidate"], dent["class_changed"], dent["vanished"]) == (2, 0, 1, 1)
    assert (hole["base"], hole["candidate"], hole["appeared"]) == (1, 2, 0)
    assert fields["confusions"] == [{"from": "dent", "to": "hole", "count": 1}]


# --- which job is which -------------------------------------------------------------------------------------------


def test_jobs_with_one_id_and_image_are_told_apart_by_their_order(tmp_path: Path) -> None:
    twice = Seen([a()], job_id="again", key=7)
    write(tmp_path, [twice, replace(twice, detections=[]), Seen()])
    write(tmp_path, [twice, replace(twice, detections=[]), Seen()], is_candidate=True)

    assert counted(told(tmp_path)["jobs"]) == {"same": 3}


def test_one_id_for_two_images_is_two_jobs(tmp_path: Path) -> None:
    write(tmp_path, [Seen([a()], job_id="one", key=1), Seen([], job_id="one", key=2)])
    write(tmp_path, [Seen([], job_id="one", key=2), Seen([a()], job_id="one", key=1)], is_candidate=True)

    assert counted(told(tmp_path)["jobs"]) == {"same": 2}


def test_by_image_jobs_may_have_other_ids(tmp_path: Path) -> None:
    write(tmp_path, [Seen([a()])])
    write(tmp_path, [Seen([], job_id="another")], is_candidate=True)

    assert counted(told(tmp_path)["jobs"]) == {"missing": 1, "extra": 1}
    fields = told(tmp_path, "--by", "image")
    assert counted(fields["jobs"]) == {"changed": 1}
    assert fields["examples"][0]["job_id"] == "part-0"


def test_an_outcome_that_lies_there_twice_counts_once(tmp_path: Path) -> None:
    write(tmp_path, [Seen([a()])])
    write(tmp_path, [Seen([a()])], is_candidate=True)
    library = Library(FolderShelf(tmp_path))
    twice = Inspection(library, (RESULTS, RESULTS), Selection())

    assert compare(twice, Inspection(library, CANDIDATE, Selection())).jobs == {"same": 1}


def test_one_topic_at_two_times_and_two_audits_are_compared(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    write(folder, [Seen([a()])])
    write(tmp_path / "two", [Seen([])], start=3600)
    for file in (tmp_path / "two").rglob("*.parquet"):
        (folder / file.relative_to(tmp_path / "two")).write_bytes(file.read_bytes())
    times = ["--until", "2026-03-01T08:30", "--candidate-since", "2026-03-01T08:30", "--by", "image", "--json"]

    in_one = json.loads(run(folder, *times).stdout)
    in_two = json.loads(
        run(folder, "--until", "2026-03-01T08:30", "--candidate-from", str(tmp_path / "two"), "--json").stdout
    )

    assert in_one["changes"]["vanished"] == in_two["changes"]["vanished"] == 1


def test_filters_choose_the_jobs_of_both_sides_and_a_model_those_of_one(tmp_path: Path) -> None:
    write(tmp_path, [Seen([a()]), Seen([a()]), Seen([a()])])
    write(tmp_path, [Seen([]), Seen([a()]), Seen([a()])], is_candidate=True)

    assert counted(told(tmp_path, "--key", "*/00000[12].jpg")["jobs"]) == {"same": 2}
    assert counted(told(tmp_path, "--model", "another")["jobs"]) == {"extra": 3}
    assert counted(told(tmp_path, "--candidate-model", "another")["jobs"]) == {"missing": 3}


def test_foreign_records_are_no_jobs(tmp_path: Path) -> None:
    write(tmp_path, [Seen([a()])])
    write(tmp_path, [Seen([a()])], is_candidate=True)
    foreign = [Record(RESULTS, 1, 0, 1772352000000, None, b"hello")]
    write_files(tmp_path, foreign, OUTCOMES_SCHEMA, result_rows)

    assert counted(told(tmp_path)["jobs"]) == {"same": 1}


def test_what_tells_the_candidate_from_the_base_must_be_said(tmp_path: Path) -> None:
    result = run(tmp_path)

    assert result.exit_code == 2
    assert result.stderr.startswith("error: nothing tells the candidate from the base: --candidate, ")


# --- what is told -------------------------------------------------------------------------------------------------


def test_the_worst_come_first_and_dead_letters_before_them(tmp_path: Path) -> None:
    base = [Seen([a()]), Seen([a(), a("hole", left=300.0)]), Seen([a(confidence=0.9)]), Seen([a()])]
    write(tmp_path, base)
    write(tmp_path, [Seen([a(confidence=0.6)]), Seen([]), Seen([]), Seen(None)], is_candidate=True)

    fields = told(tmp_path)
    assert [one["job_id"] for one in fields["examples"]] == ["part-3", "part-1", "part-2", "part-0"]
    assert [one["job_id"] for one in told(tmp_path, "--examples", "2")["examples"]] == ["part-3", "part-1"]
    assert told(tmp_path, "--examples", "0")["changes"] == fields["changes"]


def test_the_text_names_weights_counts_classes_and_examples(tmp_path: Path) -> None:
    write(tmp_path, [Seen([a()]), Seen([a("hole")])])
    write(tmp_path, [Seen([a(left=30.0)]), Seen([])], is_candidate=True)

    result = run(tmp_path, *OTHERS)

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "base: 2 results of parts-yolo26n 555555555555 (openvino, f32, confidence 0.25, iou 0.7)"
    assert lines[2] == "2 jobs compared, 100.0% of them changed"
    assert "  2 with other detections" in lines
    table = [line.split()[:3] for line in lines if line.startswith((" dent", " hole"))]
    assert table == [["dent", "1", "1"], ["hole", "1", "0"]]
    place = f"s3://parts/line-0/000000.jpg  {RESULTS}/0/0 → candidate.results/0/0"
    assert lines[-2:] == [f"part-0  {place}", "  moved: dent 0.80 → dent 0.80 at 10, 10, 110, 110, IoU 0.67"]


# --- for CI -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "allowed", "beyond"),
    [
        ("--max-changed", "0.5", "0.4"),
        ("--max-vanished", "1", "0"),
        ("--max-appeared", "1", "0"),
        ("--max-class-changed", "1", "0"),
        ("--max-moved", "1", "0"),
        ("--max-shifted", "1", "0"),
        ("--max-new-dead-letters", "1", "0"),
        ("--max-different-bytes", "1", "0"),
        ("--max-missing", "1", "0"),
    ],
)
def test_more_than_allowed_is_1_with_what_it_is(tmp_path: Path, option: str, allowed: str, beyond: str) -> None:
    """One change of each kind in 12 jobs that were compared, half of which changed."""
    same = [Seen()] * 6
    write(tmp_path, [*[Seen([a()])] * 6, *same, Seen(), Seen()])
    other = [[], [a(), a("hole", left=300.0)], [a("hole")], [a(left=30.0)], [a(confidence=0.6)], None]
    candidate = [*map(Seen, other), *same, Seen(sha256="0" * 64), None]
    write(tmp_path, candidate, is_candidate=True)

    within = run(tmp_path, *OTHERS, "--max-missing", "1", option, allowed)
    assert within.exit_code == 0, within.stderr
    result = run(tmp_path, *OTHERS, "--max-missing", "1", option, beyond)
    assert result.exit_code == 1
    name = option.removeprefix("--max-").replace("-", " ").replace("new dead letters", "died")
    assert f"error: more than allowed: {name} {0.5 if name == 'changed' else 1}, allowed {beyond}\n" in result.stderr


def test_jobs_that_are_missing_are_not_borne_where_anything_is_asked(tmp_path: Path) -> None:
    """A candidate that did one job of two would be green."""
    write(tmp_path, [Seen(), Seen()])
    write(tmp_path, [Seen(), None], is_candidate=True)

    assert run(tmp_path, *OTHERS).exit_code == 0
    result = run(tmp_path, *OTHERS, "--max-vanished", "0")
    assert result.exit_code == 1
    assert "more than allowed: missing 1, allowed 0" in result.stderr


def test_nothing_to_compare_is_1(tmp_path: Path) -> None:
    write(tmp_path, [Seen()])

    result = run(tmp_path, *OTHERS)

    assert result.exit_code == 1
    assert "audit " in result.stderr
    assert "holds nothing of candidate.dead-letters, candidate.results" in result.stderr
    assert "error: nothing was compared" in result.stderr


# --- pictures -----------------------------------------------------------------------------------------------------


def test_pictures_show_the_base_left_and_the_candidate_right(tmp_path: Path) -> None:
    limits = ImageSettings(allowed_buckets=("parts",))
    gray, gone = tmp_path / "gray.png", tmp_path / "gone.png"
    gray.write_bytes(cv2.imencode(".png", np.full((480, 640, 3), 128, np.uint8))[1].tobytes())
    digest = hashlib.sha256(gray.read_bytes()).hexdigest()
    example = Example("changed", 1.0, "part-0", ImageReference("", str(gray)), digest, "", "", (a(),), (), ())
    others = [replace(example, image=ImageReference("", str(gone))), replace(example, sha256="0" * 64)]
    warned: list[str] = []

    folder = tmp_path / "pictures"
    (path,) = draw_examples([*others, example], LocalFiles(limits), limits, folder, warn=warned.append)

    picture = cv2.imread(str(path))
    assert picture is not None
    assert picture.shape == (480, 640 + 8 + 640, 3)
    left, right = picture[:, :640].astype(int), picture[:, 648:].astype(int)
    assert (abs(left - 128) > 60).any()
    assert not (abs(right - 128) > 20).any()
    assert warned == [
        f"no picture of part-0: image {gone} does not exist",
        f"no picture of part-0: image {gray} has other bytes now",
    ]
    with pytest.raises(SettingsError, match="several pictures need a folder"):
        list(draw_examples([], LocalFiles(limits), limits, tmp_path / "one.jpg", warn=warned.append))
