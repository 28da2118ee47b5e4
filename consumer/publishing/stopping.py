"""Is the publication to end, and may it be broken off where it is waiting just now?"""

import contextlib
import signal
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopping:
    """`event` asks for an end in order, `at_once` for one that waits for nothing more.

    A source that hangs is broken off; all else looks at these two, so that no job is lost between two lines.
    """

    def __init__(self) -> None:
        self.event = threading.Event()
        self.at_once = threading.Event()
        self._is_drawing = False

    def is_set(self) -> bool:
        return self.event.is_set()

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Ctrl-C, SIGTERM and SIGHUP stop in order, a second one at once. A SIGHUP that nohup ignores stays so."""
        taken = [one for one in _SIGNALS if not (one == signal.SIGHUP and signal.getsignal(one) is signal.SIG_IGN)]
        before = [(one, signal.signal(one, self._stop)) for one in taken]
        try:
            yield
        finally:
            for one, handler in before:
                signal.signal(one, handler)

    def draw(self, source: Iterable[T]) -> Iterator[T]:
        """What the source gives, until it ends or is broken off; what was drawn is given out, or was never taken."""
        drawn = iter(source)
        try:
            while True:
                self._is_drawing = True
                try:
                    if self.is_set():
                        return
                    one = next(drawn)
                finally:
                    self._is_drawing = False
                yield one
        except (StopIteration, KeyboardInterrupt):
            return

    def _stop(self, *_: object) -> None:
        if self.is_set():
            self.at_once.set()
        self.event.set()
        if self._is_drawing:
            self._is_drawing = False
            raise KeyboardInterrupt
