"""Does every detection find the one that it is in another inspection, and is what became of it named?"""

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.audit.matching import Matching, Tolerances, changes, matched, overlaps
from consumer.messages import Detection

BOX = (10.0, 10.0, 110.0, 110.0)


def a(class_name: str = "dent", confidence: float = 0.8, box: tuple[float, float, float, float] = BOX) -> Detection:
    return Detection(sum(class_name.encode()), class_name, confidence, box)


def shifted(by: float, class_name: str = "dent") -> Detection:
    return a(class_name, box=(10.0 + by, 10.0, 110.0 + by, 110.0))


def found(base: Sequence[Detection], candidate: Sequence[Detection]) -> list[tuple[str, float]]:
    matching = matched(base, candidate, overlap=0.5)
    return [(change.kind, round(change.amount, 3)) for change in changes(matching, Tolerances())]


@pytest.mark.parametrize(
    ("base", "candidate", "expected"),
    [
        ([], [], []),
        ([a()], [a()], []),
        ([a(confidence=0.7)], [a(confidence=0.79)], []),
        ([a(confidence=0.5)], [a(confidence=0.7)], [("shifted", 0.2)]),
        ([a(confidence=0.7)], [a(confidence=0.5)], [("shifted", 0.2)]),
        ([a()], [], [("vanished", 0.8)]),
        ([], [a(confidence=0.3)], [("appeared", 0.3)]),
        ([a()], [shifted(4)], []),
        ([a()], [shifted(20)], [("moved", 0.333)]),
        ([a()], [shifted(60)], [("vanished", 0.8), ("appeared", 0.8)]),
        ([a()], [a("hole", 0.6)], [("class_changed", 0.8), ("shifted", 0.2)]),
        ([a("dent"), a("hole")], [a("hole"), a("dent")], []),
        ([a("dent"), a("hole")], [a("hole")], [("vanished", 0.8)]),
        ([a(box=(5, 5, 5, 5))], [a(box=(5, 5, 5, 5))], [("vanished", 0.8), ("appeared", 0.8)]),
    ],
)
def test_what_became_of_a_detection_is_named(
    base: list[Detection], candidate: list[Detection], expected: list[tuple[str, float]]
) -> None:
    assert found(base, candidate) == expected


def test_a_thing_of_the_same_class_is_preferred_to_a_nearer_one_of_another() -> None:
    matching = matched([a("dent")], [a("hole"), shifted(20, class_name="dent")], overlap=0.5)

    assert [pair.candidate.class_name for pair in matching.pairs] == ["dent"]
    assert [one.class_name for one in matching.appeared] == ["hole"]


def test_the_two_that_overlap_most_become_a_pair_whatever_their_order() -> None:
    near, nearer, one = shifted(10), shifted(4), a()

    for candidate in permutations([near, nearer]):
        matching = matched([one], candidate, overlap=0.5)
        assert [pair.candidate for pair in matching.pairs] == [nearer]
        assert matching.appeared == (near,)


def test_overlaps_are_those_that_were_counted_by_hand() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 0, 0]], float)
    others = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [2, 2, 4, 4]], float)

    assert overlaps(boxes, others) == pytest.approx(np.array([[1, 1 / 3, 0, 0.04], [0, 0, 0, 0]]))


_boxes = st.tuples(*[st.integers(0, 60)] * 2, *[st.integers(61, 100)] * 2)
_detections = st.lists(
    st.builds(a, class_name=st.sampled_from(["dent", "hole"]), confidence=st.floats(0, 1), box=_boxes), max_size=6
)


@given(base=_detections, candidate=_detections)
def test_nobody_has_two_partners_and_nobody_is_lost(base: list[Detection], candidate: list[Detection]) -> None:
    matching: Matching = matched(base, candidate, overlap=0.5)

    ones = [*(pair.base for pair in matching.pairs), *matching.vanished]
    others = [*(pair.candidate for pair in matching.pairs), *matching.appeared]
    assert sorted(map(id, ones)) == sorted(map(id, base))
    assert sorted(map(id, others)) == sorted(map(id, candidate))
    assert all(pair.iou >= 0.5 for pair in matching.pairs)


@given(detections=_detections)
def test_nothing_changes_between_an_inspection_and_itself(detections: list[Detection]) -> None:
    matching = matched(detections, list(reversed(detections)), overlap=0.5)

    assert matching.vanished == matching.appeared == ()
    assert all(pair.iou == 1 for pair in matching.pairs)
