"""Are the numbers of a report those of its rows, and are the pictures the ones that are asked for?"""

import json
import re
from collections import Counter
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from consumer.__main__ import app
from consumer.audit.columns import OUTCOMES
from consumer.audit.folder import FolderShelf
from consumer.audit.library import Library
from consumer.audit.query import chosen
from consumer.audit.report import BINS, MOST_CLASSES, OTHERS, overview, shown
from consumer.audit.selection import Selection
from consumer.gallery import Chart
from tests.rigs.audit_rows import DEAD_LETTERS, RESULTS, START, write_audit


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pl.LazyFrame:
    """Two partitions of 90 jobs, ten minutes apart, every ninth a dead letter."""
    folder = tmp_path_factory.mktemp("audit")
    write_audit(folder, jobs=90, dead_every=9, step=timedelta(minutes=10))
    return chosen(Library(FolderShelf(folder)), [RESULTS, DEAD_LETTERS], Selection())


def detections(rows: pl.LazyFrame) -> list[dict[str, object]]:
    return [one for found in rows.collect()["detections"].to_list() for one in found or ()]


def chart(rows: pl.LazyFrame, title: str) -> Chart:
    (found,) = (one for one in overview(rows).charts if one.title == title)
    return found


def test_the_facts_count_what_there_is(rows: pl.LazyFrame) -> None:
    facts = {fact.label: (fact.value, fact.note) for fact in overview(rows).facts}

    assert facts == {
        "Images inspected": ("160", ""),
        "With detections": ("100", "62.5% of the results"),
        "Detections": (str(len(detections(rows))), ""),
        "Dead letters": ("20", "11.11% of the jobs"),
    }


def test_every_class_is_counted_the_most_frequent_first(rows: pl.LazyFrame) -> None:
    counts = Counter(str(one["class_name"]) for one in detections(rows))
    found = chart(rows, "Detections by class")

    assert dict(zip(found.labels, found.series[0][1], strict=True)) == counts
    assert sorted(found.series[0][1], reverse=True) == list(found.series[0][1])


def test_every_confidence_is_in_its_bin_and_its_class(rows: pl.LazyFrame) -> None:
    found = chart(rows, "Detections by confidence")
    counts = Counter((str(one["class_name"]), int(float(str(one["confidence"])) * BINS)) for one in detections(rows))

    assert {
        (name, bin_): count for name, values in found.series for bin_, count in enumerate(values) if count
    } == counts


def test_columns_over_time_have_all_outcomes_and_round_steps(rows: pl.LazyFrame) -> None:
    found = chart(rows, "Outcomes over time")

    assert {name: sum(values) for name, values in found.series} == {"results": 160, "dead letters": 20}
    assert found.labels[:2] == ("03-01 08:00", "03-01 08:15")
    assert chart(rows, "Detections over time").labels == found.labels
    assert sum(sum(values) for _, values in chart(rows, "Detections over time").series) == len(detections(rows))


def test_many_classes_are_told_as_the_first_ones_and_the_others() -> None:
    found = [
        {
            "class_id": number,
            "class_name": f"class {number:02}",
            "confidence": 0.5,
            "x1": 0.0,
            "y1": 0.0,
            "x2": 1.0,
            "y2": 1.0,
        }
        for number in range(40)
    ]
    one = {"kind": "result", "time": START, "count": 40, "detections": found, "width": 1, "height": 1}
    one |= {"model": "parts", "model_sha256": "5" * 64, "engine": "torch", "precision": "f32"}
    frame = pl.LazyFrame([one], schema=OUTCOMES)

    by_confidence = chart(frame, "Detections by confidence")
    assert len(by_confidence.series) == MOST_CLASSES + 1
    assert by_confidence.series[-1] == (OTHERS, tuple(31 if number == 10 else 0 for number in range(BINS)))
    assert chart(frame, "Detections by class").labels[-1] == OTHERS


def test_tables_tell_reasons_weights_and_times(rows: pl.LazyFrame) -> None:
    tables = {table.title: table.rows for table in overview(rows).tables}

    assert tables["Dead letters"] == (("image_not_found", "20"),)
    assert tables["Weights"] == (("parts-yolo26n", "5" * 12, "openvino f32", "160", str(len(detections(rows)))),)
    assert ("detect", "20.5", "20.5") in tables["Milliseconds per image"]


def test_dead_letters_name_their_jobs(rows: pl.LazyFrame) -> None:
    letters = overview(rows).letters

    assert len(letters) == 20
    assert letters[0].coordinates == "inspection.jobs/1/89#0"
    assert letters[0].image == "s3://parts/line-1/000089.jpg"


@pytest.mark.parametrize("pick", ["recent", "sure", "doubtful"])
def test_the_pictures_are_those_that_are_asked_for(rows: pl.LazyFrame, pick: str) -> None:
    results = rows.filter(pl.col("kind") == "result").collect()
    confidences = [min(one["confidence"] for one in found) for found in results["detections"].to_list() if found]

    picked = shown(rows, pick, 7)  # type: ignore[arg-type]

    assert len(picked) == 7
    match pick:
        case "recent":
            assert [one.time for one in picked] == results["time"].sort(descending=True).to_list()[:7]
        case "sure":
            best = results["top_confidence"].drop_nulls().sort(descending=True).to_list()[:7]
            assert [max(one.confidence for one in each.detections) for each in picked] == best
        case _:
            assert [min(one.confidence for one in each.detections) for each in picked] == sorted(confidences)[:7]


def test_a_report_of_nothing_is_a_page_that_says_so(tmp_path: Path) -> None:
    page = tmp_path / "report.html"

    done = CliRunner().invoke(app, ["audit", "report", str(page), "--from", str(tmp_path), "--title", "</title><b>"])

    assert done.exit_code == 0, done.output
    text = page.read_text()
    found = re.search('<script type="application/json" id="content">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    content = json.loads(found[1])
    assert (content["pictures"], content["charts"], content["dead_letters"]) == ([], [], [])
    assert content["subtitle"].startswith("no outcomes")
    assert "<b>" not in text.partition("<style>")[0]
