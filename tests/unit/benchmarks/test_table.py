"""Does the table say what was measured, and why something was not?"""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import plot, table
from benchmarks.accuracy import Agreement
from benchmarks.cases import Case, all_cases, selected
from benchmarks.run import Results
from benchmarks.samples import Failure, Sample
from benchmarks.workload import Workload

ABOUT = {
    "name": "test",
    "date": "2026-01-01",
    "rounds": 1,
    "seconds": 1.0,
    "cores": 2,
    "machine": {"cpu": "x"},
    "versions": {},
    "weights": {},
    "settings": {},
}
SMALL = Workload("640x480")
NAIVE = Case(name="naive", group="people", kind="loop", program="naive", workload=SMALL)
PIPELINE = Case(name="pipeline", group="pipeline", kind="consumer", program="consumer", workload=SMALL)
ENGINE = Case(name="bare engine", group="denominators", kind="bare", program="engine", workload=SMALL)
DECODE = Case(name="decode only", group="denominators", kind="bare", program="decode", workload=SMALL, is_model=False)


def sample(rate: float, **cpu: float) -> Sample:
    return Sample(images=round(rate * 10), seconds=10.0, cpu=cpu)


def measured() -> Results:
    results = Results(ABOUT)
    results.add(ENGINE, 0, sample(40, program=20.0))
    results.add(DECODE, 0, sample(2000, program=20.0))
    results.add(NAIVE, 0, Sample(images=100, seconds=10.0, cpu={"program": 20.0}, agreement=Agreement(9, 10, 10, 0.9)))
    results.add(PIPELINE, 0, sample(30, program=18.0, broker=1.0, store=1.0))
    return results


def cell(results: Results, case: Case, column: str) -> str:
    return table.row(results, case)[table.COLUMNS.index(column)]


def test_ratios_compare_with_the_naive_loop_and_the_bare_engine() -> None:
    results = measured()

    assert cell(results, PIPELINE, "× naive") == "3.00"
    assert cell(results, PIPELINE, "÷ bare engine") == "0.75"
    assert cell(results, PIPELINE, "÷ bound") == "0.85"  # 30 × (50 + 1) ms on 1.8 cores
    assert cell(results, ENGINE, "× naive") == table.NOTHING


@pytest.mark.parametrize("other", [{"precision": "bf16"}, {"engine": "onnxruntime"}, {"shapes": "square"}])
def test_another_bare_engine_is_not_compared_with(other: dict[str, str]) -> None:
    results = measured()
    different = replace(PIPELINE, name="different", **other)  # type: ignore[arg-type]
    results.add(different, 0, sample(80))

    assert cell(results, different, "÷ bare engine") == table.NOTHING
    assert cell(results, different, "÷ bound") == table.NOTHING


def test_accuracy_stands_beside_speed() -> None:
    results = measured()

    assert cell(results, NAIVE, "agreement") == "90.0% of 10"
    assert cell(results, NAIVE, "Δ confidence") == "0.1000"


def test_a_case_that_cannot_run_says_why_and_has_no_number() -> None:
    results = measured()
    peer = Case(name="Ray Serve", group="peers", kind="peer", program="rayserve", workload=SMALL)
    results.add(peer, 0, Failure(reason="no wheel for this machine"))

    row = table.row(results, peer)

    assert "did not run: no wheel for this machine" in row
    assert not any(character.isdigit() for text in row[3:-1] for character in text)
    assert "no wheel for this machine" in table.page(results)


def test_a_round_that_failed_is_told_beside_the_others() -> None:
    results = measured()
    results.add(PIPELINE, 1, Failure(reason="cut off"))

    assert table.row(results, PIPELINE)[0] == "pipeline (1 of 2 rounds failed)"


def test_what_is_written_reads_back_the_same(tmp_path: Path) -> None:
    results = measured()
    results.write(tmp_path / "results.json")

    assert table.page(Results.read(tmp_path / "results.json")) == table.page(results)


def test_the_picture_holds_what_has_a_model() -> None:
    drawn = plot.svg(measured())

    assert drawn is not None
    assert "pipeline" in drawn
    assert "decode only" not in drawn
    assert plot.svg(Results(ABOUT)) is None


def test_no_two_cases_share_a_key() -> None:
    cases = all_cases()

    assert len({case.key for case in cases}) == len(cases)


def test_the_models_size_is_that_of_every_case_and_says_where_half_the_image_is_enough() -> None:
    cases = {image_size: all_cases(image_size=image_size) for image_size in (320, 640)}
    halved = {
        image_size: {case.workload.size for case in found if case.name == "decode only, fast"}
        for image_size, found in cases.items()
    }

    assert all(case.image_size == 320 for case in cases[320])
    assert {case.shapes for case in cases[320]} == {"rectangular", "square"}
    assert {case.shapes for case in all_cases(shapes="square")} == {"square"}
    assert halved == {320: {"640x480", "1080p"}, 640: {"1080p"}}


def test_a_word_names_a_group_or_a_main_case() -> None:
    cases = all_cases()

    assert {case.group for case in selected(cases, ["naive", "peers"])} == {"people", "peers"}
    assert {case.workload.size for case in selected(cases, ["pipeline"], ["1080p"])} == {"1080p"}
    assert selected(cases, ["all"]) == cases
