"""Is the agreement of two lists of detections what a person would say of them?"""

import numpy as np

from consumer.weighing.agreement import Agreement, agreement
from consumer.weighing.export import is_the_same


def rows(*detections: tuple[float, ...]) -> np.ndarray:
    return np.array(detections, np.float32).reshape(-1, 6)


BOX = (10.0, 10.0, 30.0, 30.0)


def test_the_same_detections_agree_wholly() -> None:
    found = rows((*BOX, 0.9, 1), (50, 50, 60, 60, 0.4, 2))
    assert agreement([found], [found[::-1]]) == Agreement(2, 2, 1.0, 1.0, 0.0)


def test_another_class_and_a_far_box_are_no_partners() -> None:
    found = agreement(
        [rows((*BOX, 0.9, 1), (50, 50, 60, 60, 0.4, 2))], [rows((*BOX, 0.9, 0), (55, 50, 65, 60, 0.4, 2))]
    )
    assert (found.matched, found.worst_iou) == (0.0, None)


def test_a_detection_has_one_partner_alone() -> None:
    found = agreement([rows((*BOX, 0.9, 1))], [rows((*BOX, 0.8, 1), (10, 10, 30, 29.5, 0.7, 1))])
    assert found.matched == 2 / 3
    assert found.worst_iou == 1.0
    assert abs((found.largest_confidence_difference or 0) - 0.1) < 1e-6


def test_nothing_on_either_side_is_no_agreement_and_no_difference() -> None:
    found = agreement([rows()], [rows()])
    assert found == Agreement(0, 0, None, None, None)
    assert is_the_same(found)


def test_boxes_without_an_area_overlap_nothing() -> None:
    flat = rows((5, 5, 5, 5, 0.9, 1))
    assert agreement([flat], [flat]).matched == 0


def test_what_is_no_longer_the_same_in_f32_is_told() -> None:
    same = Agreement(10, 10, 1.0, 0.999, 1e-4)
    assert is_the_same(same)
    for worse in (Agreement(10, 9, 0.94, 0.999, 0), Agreement(10, 10, 1.0, 0.95, 0), Agreement(10, 10, 1.0, 1.0, 0.01)):
        assert not is_the_same(worse)
