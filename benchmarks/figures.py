"""Which numbers are made of measured ones: medians, ratios of one round, bounds, percentiles?"""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from benchmarks.samples import Sample

Rounds = Mapping[int, Sample]
"""The samples of one case by the number of their round; a round in which it failed is not there."""


def median_rate(rounds: Rounds) -> float | None:
    return median_of(sample.rate for sample in rounds.values())


def spread(rounds: Rounds) -> tuple[float, float] | None:
    """The least and the greatest rate."""
    rates = [sample.rate for sample in rounds.values()]
    return (min(rates), max(rates)) if rates else None


def ratio(rounds: Rounds, others: Rounds) -> float | None:
    """The median of the quotients of rates that were measured in the same round: a noisy minute hits both."""
    both = rounds.keys() & others.keys()
    return median_of(rounds[number].rate / others[number].rate for number in both)


def cpu_per_image(rounds: Rounds, process: str) -> float | None:
    """Median CPU seconds of a process for an image."""
    return median_of(cpu for sample in rounds.values() if (cpu := sample.cpu_per_image(process)) is not None)


def share_of_bound(rounds: Rounds, *, cores: int, needed: float) -> float | None:
    """The median of rate ÷ bound, where the bound is 1 ÷ `needed` on the cores that broker and store leave.

    `needed` is the CPU seconds that engine and decoding alone take for an image.
    """

    def of(sample: Sample) -> float:
        left = cores - (sample.cpu.get("broker", 0.0) + sample.cpu.get("store", 0.0)) / sample.seconds
        return sample.rate * needed / left if left > 0 else math.nan

    return median_of(of(sample) for sample in rounds.values())


def median_of(values: Iterable[float]) -> float | None:
    """None where there are none: nothing was measured."""
    listed = list(values)
    return median(listed) if listed else None


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """The least value that so many of all do not exceed; {} of nothing."""
    ordered = sorted(values)
    return {f"p{percent}": ordered[math.ceil(percent / 100 * len(ordered)) - 1] for percent in (50, 99) if ordered}


def tenths(memory: Sequence[tuple[float, int]]) -> tuple[float, float] | None:
    """Mean bytes of the second and of the last tenth of a series; None where it is shorter than ten looks."""
    size = len(memory) // 10
    if not size:
        return None
    second, last = memory[size : 2 * size], memory[-size:]
    return sum(value for _, value in second) / size, sum(value for _, value in last) / size
