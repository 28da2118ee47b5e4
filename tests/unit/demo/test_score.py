"""Is it counted right what was found, missed and imagined?"""

from __future__ import annotations

import pytest

from consumer.demo.defects import ClassName
from consumer.demo.parts import Defect
from consumer.demo.score import Score, overlap
from consumer.messages import Detection


def detection(name: str, box: tuple[float, float, float, float], confidence: float = 0.9) -> Detection:
    return Detection(0, name, confidence, box)


def defect(name: ClassName, box: tuple[int, int, int, int]) -> Defect:
    return Defect(name, box)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        ((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),
        ((0, 0, 10, 10), (30, 30, 40, 40), 0.0),
    ],
)
def test_overlap_is_the_common_part_of_both(one: tuple[float, ...], other: tuple[float, ...], expected: float) -> None:
    assert overlap(one, other) == pytest.approx(expected)


def test_a_defect_is_found_by_a_box_of_its_class_that_lies_on_half_of_both() -> None:
    score = Score()

    score.add([defect("dent", (0, 0, 10, 10))], [detection("dent", (0, 0, 10, 5))])
    score.add([defect("dent", (0, 0, 10, 10))], [detection("dent", (0, 0, 10, 4.9))])
    score.add([defect("dent", (0, 0, 10, 10))], [detection("stain", (0, 0, 10, 10))])

    assert score.drawn == {"dent": 3}
    assert score.found == {"dent": 1}
    assert score.missed == {"dent": 2}
    assert score.false == {"dent": 1, "stain": 1}


def test_a_defect_is_found_once_and_the_more_confident_detection_chooses_first() -> None:
    near, far = defect("dent", (0, 0, 10, 10)), defect("dent", (4, 0, 14, 10))
    unsure, sure = detection("dent", (1, 0, 11, 10), 0.3), detection("dent", (0, 0, 10, 10), 0.8)
    score = Score()

    score.add([near, far], [unsure, sure])  # what is left for the unsure one lies on it by more than half

    assert (score.found["dent"], score.false["dent"]) == (2, 0)

    score.add([near], [unsure, sure])

    assert (score.found["dent"], score.false["dent"]) == (3, 1)


def test_a_flawless_part_without_detections_counts_nothing() -> None:
    score = Score()

    score.add([], [])

    assert score == Score()
