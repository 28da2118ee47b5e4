"""Is agreement with the reference counted rightly?"""

import pytest

from benchmarks.accuracy import Agreement, compare, iou, total

BOX = (10.0, 10.0, 110.0, 110.0, 0.8, 1.0)


def test_equal_detections_agree_wholly() -> None:
    agreement = compare([BOX], [BOX])

    assert agreement.share == 1.0
    assert agreement.confidence_apart == 0.0


def test_another_class_or_a_box_elsewhere_is_no_partner() -> None:
    other_class = (*BOX[:5], 2.0)
    moved = (30.0, 10.0, 130.0, 110.0, 0.8, 1.0)

    assert compare([BOX], [other_class]).share == 0.0
    assert compare([BOX], [moved]).share == 0.0


def test_what_only_one_side_found_lowers_the_share() -> None:
    extra = (200.0, 200.0, 300.0, 300.0, 0.5, 0.0)

    assert compare([BOX], [BOX, extra]).share == pytest.approx(2 / 3)
    assert compare([BOX, extra], [BOX]).share == pytest.approx(2 / 3)


def test_a_detection_has_one_partner_and_the_best_one() -> None:
    near = (10.0, 10.0, 112.0, 110.0, 0.6, 1.0)

    agreement = compare([BOX], [near, BOX])

    assert (agreement.pairs, agreement.found) == (1, 2)
    assert agreement.confidence_apart == 0.0


def test_confidence_is_compared_within_pairs_of_all_images() -> None:
    fainter = (*BOX[:4], 0.7, 1.0)

    agreement = total([compare([BOX], [BOX]), compare([BOX], [fainter])])

    assert agreement.confidence_apart == pytest.approx(0.05)


def test_nothing_to_find_is_no_agreement_and_no_disagreement() -> None:
    assert compare([], []).share is None
    assert Agreement().confidence_apart is None


def test_boxes_without_an_area_do_not_overlap() -> None:
    point = (5.0, 5.0, 5.0, 5.0, 0.5, 0.0)

    assert iou(point, point) == 0.0
