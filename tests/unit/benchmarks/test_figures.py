"""Are the numbers of the table made rightly of those that were measured?"""

import pytest

from benchmarks import figures
from benchmarks.samples import Sample


def sample(rate: float, **cpu: float) -> Sample:
    """One second at this rate."""
    return Sample(images=round(rate * 10), seconds=10.0, cpu=cpu)


def test_a_ratio_is_the_median_of_those_of_the_same_round() -> None:
    ours = {0: sample(20), 1: sample(60), 2: sample(90)}
    others = {0: sample(10), 1: sample(20), 2: sample(30)}

    assert figures.ratio(ours, others) == 3.0


def test_a_round_that_one_side_lacks_is_left_out() -> None:
    assert figures.ratio({0: sample(20), 1: sample(80)}, {0: sample(10)}) == 2.0
    assert figures.ratio({1: sample(80)}, {0: sample(10)}) is None


def test_what_was_not_measured_has_no_figure() -> None:
    assert figures.median_rate({}) is None
    assert figures.spread({}) is None
    assert figures.cpu_per_image({0: sample(10)}, "broker") is None
    assert figures.percentiles([]) == {}


def test_cpu_is_told_by_image() -> None:
    assert figures.cpu_per_image({0: sample(10, program=5.0)}, "program") == pytest.approx(0.05)


def test_the_bound_is_that_of_the_cores_that_broker_and_store_leave() -> None:
    rounds = {0: sample(50, broker=3.0, store=2.0)}  # half a core for 10 seconds

    assert figures.share_of_bound(rounds, cores=2, needed=0.03) == pytest.approx(50 / (1.5 / 0.03))


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert figures.percentiles([0.3, 0.1, 0.2]) == {"p50": 0.2, "p99": 0.3}
    assert figures.percentiles([float(value) for value in range(1, 201)])["p99"] == 198.0


def test_growing_memory_shows_between_the_second_and_the_last_tenth() -> None:
    growing = [(float(second), second * 100) for second in range(20)]

    assert figures.tenths(growing) == (250.0, 1850.0)
    assert figures.tenths(growing[:9]) is None
