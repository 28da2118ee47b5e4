"""How long to wait between attempts while something outside does not answer."""

import random
from collections.abc import Iterator

FIRST = 0.1
LONGEST = 5.0


def delays(first: float = FIRST, longest: float = LONGEST, *, rng: random.Random | None = None) -> Iterator[float]:
    """Seconds, without end: doubling up to `longest`, each drawn between a half and the whole of it, so that replicas
    that lost the store together do not come back together."""
    jitter = rng or random.Random()  # noqa: S311  # spreads load, guards nothing
    ceiling = first
    while True:
        yield ceiling * jitter.uniform(0.5, 1.0)
        ceiling = min(longest, ceiling * 2)
