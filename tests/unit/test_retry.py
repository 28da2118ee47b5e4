"""Are waits between attempts growing, bounded and spread out?"""

from itertools import islice
from random import Random

from consumer.retry import FIRST, LONGEST, delays


def test_waits_double_up_to_the_longest_and_never_end() -> None:
    ceilings = [min(LONGEST, FIRST * 2**attempt) for attempt in range(50)]

    for delay, ceiling in zip(islice(delays(), 50), ceilings, strict=True):
        assert ceiling / 2 <= delay <= ceiling


def test_replicas_that_lost_the_store_together_do_not_come_back_together() -> None:
    waits = {next(delays(rng=Random(seed))) for seed in range(20)}

    assert len(waits) == 20


def test_first_and_longest_can_be_chosen() -> None:
    waits = list(islice(delays(1.0, 3.0, rng=Random(1)), 4))

    assert all(ceiling / 2 <= wait <= ceiling for wait, ceiling in zip(waits, (1.0, 2.0, 3.0, 3.0), strict=True))
