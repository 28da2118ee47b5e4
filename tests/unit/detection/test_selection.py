"""What is kept of an image's candidates; that it equals Ultralytics' choice is tests/integration/test_parity.py's."""

import numpy as np
import pytest

from consumer.detection.engine import Candidates
from consumer.detection.selection import MAX_CANDIDATES, select
from consumer.messages import Parameters

ALL = Parameters(confidence=0.25, iou=0.5, max_detections=300)


def rows(*values: tuple[float, float, float, float, float, float]) -> Candidates:
    return np.array(values, np.float32).reshape(-1, 6)


def test_detections_come_most_confident_first() -> None:
    candidates = rows((0, 0, 9, 9, 0.3, 0), (20, 0, 29, 9, 0.9, 0), (40, 0, 49, 9, 0.6, 1))
    for nms_free in (True, False):
        assert select(candidates, ALL, nms_free=nms_free)[:, 4] == pytest.approx([0.9, 0.6, 0.3])


def test_a_box_over_a_surer_one_of_its_class_is_dropped() -> None:
    candidates = rows((0, 0, 10, 10, 0.8, 0), (1, 0, 11, 10, 0.9, 0), (0, 0, 10, 10, 0.7, 1))

    kept = select(candidates, ALL, nms_free=False)

    assert kept.tolist() == candidates[[1, 2]].tolist()


def test_an_nms_free_head_is_left_as_it_is() -> None:
    candidates = rows((0, 0, 10, 10, 0.9, 0), (0, 0, 10, 10, 0.8, 0))
    assert len(select(candidates, ALL, nms_free=True)) == 2


def test_a_candidate_at_the_threshold_is_not_above_it() -> None:
    assert len(select(rows((0, 0, 9, 9, 0.25, 0)), ALL, nms_free=False)) == 0


def test_a_box_that_overlaps_by_exactly_the_threshold_stays() -> None:
    candidates = rows((0, 0, 10, 10, 0.9, 0), (0, 0, 10, 5, 0.8, 0))
    assert len(select(candidates, ALL, nms_free=False)) == 2


def test_only_the_classes_asked_for_are_kept() -> None:
    candidates = rows((0, 0, 9, 9, 0.9, 0), (20, 0, 29, 9, 0.8, 1), (40, 0, 49, 9, 0.7, 2))
    only = Parameters(confidence=0.25, iou=0.5, max_detections=2, classes=(1, 2))
    for nms_free in (True, False):
        assert select(candidates, only, nms_free=nms_free)[:, 5].tolist() == [1, 2]
    none = Parameters(confidence=0.25, iou=0.5, max_detections=2, classes=())
    assert select(candidates, none, nms_free=False).shape == (0, 6)


def test_no_more_than_max_detections_are_kept() -> None:
    candidates = rows(*((20.0 * n, 0, 20.0 * n + 9, 9, 0.3 + n / 100, 0) for n in range(50)))
    few = Parameters(confidence=0.25, iou=0.5, max_detections=7)
    for nms_free in (True, False):
        assert select(candidates, few, nms_free=nms_free)[:, 4] == pytest.approx(np.arange(0.79, 0.725, -0.01))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", range(6))
def test_a_candidate_that_is_not_finite_is_dropped(column: int, value: float) -> None:
    candidates = rows((0, 0, 9, 9, 0.9, 0), (0, 0, 10, 10, 0.8, 0))
    candidates[0, column] = value
    for nms_free in (True, False):
        assert select(candidates, ALL, nms_free=nms_free).tolist() == candidates[1:].tolist()


@pytest.mark.filterwarnings("error")
def test_boxes_without_an_area_suppress_nothing() -> None:
    candidates = rows((5, 5, 5, 5, 0.9, 0), (5, 5, 5, 5, 0.8, 0), (5, 5, 5, 9, 0.7, 0))
    assert len(select(candidates, ALL, nms_free=False)) == 3


def test_detections_outlive_the_candidates() -> None:
    candidates = rows((0, 0, 9, 9, 0.9, 0))
    for nms_free in (True, False):
        kept = select(candidates, ALL, nms_free=nms_free)
        candidates[:] = 0
        assert kept[0, 4] == pytest.approx(0.9)
        candidates[:] = rows((0, 0, 9, 9, 0.9, 0))


def test_nothing_found_is_no_rows() -> None:
    for nms_free in (True, False):
        assert select(np.zeros((0, 6), np.float32), ALL, nms_free=nms_free).shape == (0, 6)
        assert select(np.zeros((8400, 6), np.float32), ALL, nms_free=nms_free).shape == (0, 6)


def test_only_the_surest_candidates_go_into_suppression() -> None:
    candidates = np.zeros((MAX_CANDIDATES + 5, 6), np.float32)
    candidates[:, :4] = 0, 0, 10, 10
    candidates[:, 4] = np.linspace(0.5, 0.9, len(candidates), dtype=np.float32)
    candidates[0, :4] = 50, 50, 60, 60  # the least sure, overlapped by none
    assert len(select(candidates, ALL, nms_free=False)) == 1
