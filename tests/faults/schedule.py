"""What is struck in which order? A seed says it, and nothing else."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.world import Fault

JOBS_A_STRIKE = 2500
MOST_STRIKES = 24


@dataclass(frozen=True)
class Strike:
    """One blow: what, how far into its share of the jobs, and the seed of all that the fault draws."""

    fault: Fault
    at: float
    seed: int

    @property
    def rng(self) -> random.Random:
        return random.Random(self.seed)


def strikes_of(faults: Sequence[Fault], seed: int, jobs: int) -> list[Strike]:
    """Every kind at least once, in rounds of all kinds, each round in an order of its own; more jobs, more strikes.

    A run of more jobs begins with the strikes of a shorter one.
    """
    rng = random.Random(seed)
    count = min(max(len(faults), jobs // JOBS_A_STRIKE), max(len(faults), MOST_STRIKES))
    struck: list[Strike] = []
    while len(struck) < count:
        round_ = rng.sample(list(faults), len(faults))
        struck += [Strike(fault, at=rng.uniform(0.1, 0.6), seed=rng.getrandbits(32)) for fault in round_]
    return struck[:count]
