"""Does a producer that nobody needs any more end at once, and not when the garbage collector comes round?"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Producer


class Watched(Producer):
    """One that can be referred to weakly."""


@contextmanager
def no_collector() -> Iterator[None]:
    """What is kept by a circle of references lives on while the `with` lasts: it is no matter of luck."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
