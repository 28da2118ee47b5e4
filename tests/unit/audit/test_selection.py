"""Is every row chosen that is meant, and no other?"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from consumer.audit.folder import FolderShelf
from consumer.audit.library import Library
from consumer.audit.selection import Selection
from tests.rigs.audit_rows import DEAD_LETTERS, RESULTS, START, write_audit


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> pl.LazyFrame:
    folder: Path = tmp_path_factory.mktemp("audit")
    write_audit(folder, jobs=100, partitions=2, dead_every=10)
    return Library(FolderShelf(folder)).outcomes([RESULTS, DEAD_LETTERS])


def _detected(row: dict[str, Any], least: float = 0, most: float = 1, names: tuple[str, ...] = ()) -> bool:
    return any(
        least <= one["confidence"] <= most and (not names or one["class_name"] in names)
        for one in row["detections"] or ()
    )


@pytest.mark.parametrize(
    ("selection", "is_meant"),
    [
        (Selection(), lambda _: True),
        (Selection(kind="dead_letter"), lambda row: row["reason"] is not None),
        (Selection(bucket="parts"), lambda _: True),
        (Selection(bucket="other"), lambda _: False),
        (Selection(partition=1), lambda row: row["partition"] == 1),
        (Selection(since=START + timedelta(seconds=40)), lambda row: row["source_offset"] >= 40),
        (Selection(until=START + timedelta(seconds=40)), lambda row: row["source_offset"] < 40),
        (Selection(reasons=("image_not_found", "job_expired")), lambda row: row["kind"] == "dead_letter"),
        (Selection(reasons=("job_expired",)), lambda _: False),
        (Selection(job="part-1-7"), lambda row: (row["source_partition"], row["source_offset"]) == (1, 7)),
        (Selection(job="inspection.jobs/1/9"), lambda row: (row["source_partition"], row["source_offset"]) == (1, 9)),
        (Selection(job="inspection.jobs/1/x"), lambda _: False),
        (Selection(model="parts-yolo26n"), lambda row: row["kind"] == "result"),
        (Selection(model="555555"), lambda row: row["kind"] == "result"),
        (Selection(model="55555"), lambda _: False),
        (Selection(model="666666"), lambda _: False),
        (Selection(key="line-1/*"), lambda row: row["source_partition"] == 1),
        (Selection(key="*/00000[12].jpg"), lambda row: row["source_offset"] in (1, 2)),
        (Selection(key="line-?/000003.jpg"), lambda row: row["source_offset"] == 3),
        (Selection(key="line-1"), lambda _: False),
        (Selection(key="line-1/000001xjpg"), lambda _: False),
        (Selection(classes=("dent",)), lambda row: _detected(row, names=("dent",))),
        (Selection(classes=("dent", "hole")), lambda row: _detected(row, names=("dent", "hole"))),
        (Selection(min_confidence=0.9), lambda row: _detected(row, least=0.9)),
        (Selection(max_confidence=0.3), lambda row: _detected(row, most=0.3)),
        (
            Selection(classes=("dent",), min_confidence=0.5, max_confidence=0.7),
            lambda row: _detected(row, 0.5, 0.7, ("dent",)),
        ),
        (Selection(metadata={"line": "1"}), lambda row: row["source_partition"] == 1),
        (Selection(metadata={"line": "1", "shift": "early"}), lambda row: row["source_partition"] == 1),
        (Selection(metadata={"shift": "late"}), lambda _: False),
        (Selection(metadata={"nothing.there": "1"}), lambda _: False),
    ],
)
def test_a_selection_takes_the_rows_that_are_meant(outcomes: pl.LazyFrame, selection: Selection, is_meant: Any) -> None:
    rows = outcomes.collect().to_dicts()

    taken = selection.of(outcomes).collect().to_dicts()

    assert taken == [row for row in rows if is_meant(row)]


@pytest.mark.parametrize(
    ("metadata", "path", "value", "is_taken"),
    [
        ('{"camera": {"id": "c7"}}', "camera.id", "c7", True),
        ('{"camera": {"id": 7}}', "camera.id", "7", True),
        ('{"a": true}', "a", "true", True),
        ('{"it\'s": "x"}', "it's", "x", True),
        ('{"a b": "x"}', "a b", "x", True),
        ('{"a": null}', "a", "null", False),
        ("[1, 2]", "a", "1", False),
        ("null", "a", "1", False),
        ('"text"', "a", "1", False),
        (None, "a", "1", False),
    ],
)
def test_metadata_is_compared_as_text(metadata: str | None, path: str, value: str, is_taken: bool) -> None:
    frame = pl.LazyFrame({"metadata": [metadata]}, schema={"metadata": pl.String})

    assert len(Selection(metadata={path: value}).of(frame).collect()) == is_taken
