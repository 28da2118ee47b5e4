"""How fast does the group go, and when will it have caught up?"""

import pytest

from consumer.watching.lag import Pace, Sample, pace_of


def sample(at: float, positions: dict[int, int], ends: dict[int, int]) -> Sample:
    return Sample(at, positions, ends, dict.fromkeys(ends, 5), {**positions})


def test_the_pace_is_what_was_done_and_published_between_two_looks() -> None:
    first = sample(10, {0: 100, 1: 100}, {0: 200, 1: 300})
    last = sample(20, {0: 150, 1: 120}, {0: 210, 1: 300})

    assert pace_of(first, last, [0, 1]) == Pace(done=7.0, published=1.0)
    assert pace_of(first, last, [1]) == Pace(done=2.0, published=0.0)


def test_partitions_that_one_of_the_looks_does_not_know_are_left_out() -> None:
    first, last = sample(10, {0: 100}, {0: 200}), sample(20, {0: 150, 1: 900}, {0: 200, 1: 900})

    assert pace_of(first, last, [0, 1]) == Pace(done=5.0, published=0.0)
    assert pace_of(first, last, [1]) is None
    assert pace_of(last, last, [0]) is None


def test_a_position_that_was_set_back_is_no_speed() -> None:
    assert pace_of(sample(10, {0: 100}, {0: 200}), sample(20, {0: 0}, {0: 200}), [0]) == Pace(0.0, 0.0)


@pytest.mark.parametrize(
    ("pace", "lag", "seconds"),
    [(Pace(10, 0), 50, 5.0), (Pace(10, 5), 50, 10.0), (Pace(5, 5), 50, None), (Pace(0, 0), 0, 0.0)],
)
def test_the_lag_is_drained_by_what_is_done_beyond_what_comes_in(pace: Pace, lag: int, seconds: float | None) -> None:
    assert pace.drains_in(lag) == seconds


def test_a_position_that_is_not_in_the_log_is_pointed_out() -> None:
    looked = Sample(0, {0: 3, 1: 5}, {0: 9, 1: 9, 2: 9, 3: 9}, dict.fromkeys(range(4), 5), {0: 3, 1: 5, 2: None})

    assert [looked.note(number) for number in range(4)] == [
        "the group's offset is not in the log any more",
        "",
        "the group has no offset here yet",
        "a delivery is under way",
    ]
