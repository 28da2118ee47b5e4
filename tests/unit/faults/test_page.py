"""What happens to the table of docs/faults.md when a run adds to it?"""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults import report as reports
from tests.faults.cells import cells
from tests.faults.history import History
from tests.faults.judgement import judge_cell
from tests.faults.report import BEGIN, END, failure_of, row_of, write
from tests.faults.trial import Report, Run
from tests.faults.witness import Recovery
from tests.unit.faults.test_judgement import CLEAN, JOBS

KILLED, STALLED = (next(cell for cell in cells() if cell.name == name) for name in ("killed", "stalled"))


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    monkeypatch.setattr("tests.faults.history.KEPT", tmp_path / "kept")
    return Report(
        run=Run(KILLED, "classic", seed=7, jobs=10),
        judgement=judge_cell(CLEAN),
        jobs=len(JOBS),
        struck=["killed", "killed"],
        recoveries=[Recovery("killed", 0, set(), {}, 1.0, 6.0), Recovery("killed", 0, set(), {}, 3.0, None)],
        seconds=12.3,
        peak_bytes=160 << 20,
        history=History("killed-classic-7", {"seed": 7}),
    )


@pytest.fixture
def page(tmp_path: Path) -> Path:
    page = tmp_path / "faults.md"
    page.write_text(f"# Before\n\n{BEGIN}\n{END}\n\nAfter.\n")
    return page


def test_a_row_says_what_was_struck_and_what_became_of_it(made: Report) -> None:
    row = row_of(made)
    assert row[:8] == ["killed", "classic", "10", "2 × killed", "0", "0", "0", "0"]
    assert row[8:] == ["2.0 / 3.0", "6.0 / 6.0", "12", "160", "7"]


def test_a_row_counts_what_was_broken(made: Report) -> None:
    lossy = judge_cell(replace(CLEAN, concurrent=CLEAN.concurrent[1:], final=CLEAN.concurrent[1:]))
    assert row_of(replace(made, judgement=lossy))[4:8] == ["1", "0", "0", "0"]
    stuck = judge_cell(replace(CLEAN, unready=("replica-1",)))
    assert row_of(replace(made, judgement=stuck))[4:8] == ["0", "0", "0", "1 stuck"]


def test_rows_are_added_in_the_order_of_the_cells_and_replaced_by_cell_protocol_and_seed(
    made: Report, page: Path
) -> None:
    other = replace(made, run=replace(made.run, cell=STALLED))
    write([other], page)
    write([made], page)
    write([replace(made, jobs=99)], page)
    text = page.read_text()
    assert text.startswith("# Before\n")
    assert text.endswith("\nAfter.\n")
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert [row.split(" | ")[:3] for row in rows] == [["| killed", "classic", "99"], ["| stalled", "classic", "10"]]


def test_rows_of_other_versions_do_not_stay(made: Report, page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write([replace(made, run=replace(made.run, cell=STALLED))], page)
    monkeypatch.setattr(reports, "versions", lambda: "Apache Kafka 5")
    write([made], page)
    assert "| stalled" not in page.read_text()
    assert "With Apache Kafka 5." in page.read_text()


def test_a_failure_tells_its_story_and_how_to_run_it_again(made: Report) -> None:
    made.history.note("SIGKILL replica-1")
    told = failure_of(replace(made, judgement=judge_cell(replace(CLEAN, unready=("replica-1 is not ready",)))))
    assert "replica-1 is not ready" in told
    assert "SIGKILL replica-1" in told
    assert told.endswith("python -m tests.faults --cell killed --protocol classic --seed 7 --jobs 10")
    assert (made.history.folder / "history.txt").read_text().endswith("SIGKILL replica-1\n")
