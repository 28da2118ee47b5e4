"""How long may a test wait for something that another process does?"""

import time
from collections.abc import Callable

POLL = 0.02  # seconds between two looks


def wait_until(condition: Callable[[], bool], *, within: float, what: str | Callable[[], str]) -> None:
    """Return as soon as `condition` holds; raise TimeoutError naming `what` after `within` seconds."""
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {within:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(POLL)
