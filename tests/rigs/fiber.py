"""How does a test let several threads of a program take turns, one at a time and at known points?"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Fate = TypeVar("Fate")

_here = threading.local()


class Killed(BaseException):
    """Raised where a fiber is parked when its process is no more: nothing that it does afterwards has an effect."""


class Fiber(Generic[Fate]):
    """A thread that runs only while `resume` waits for it, until it parks or ends. What it parks at is its `point`;
    what it is told on the way back is a fate, or that it is dead."""

    def __init__(self, body: Callable[[], object], *, point: str) -> None:
        self.point = point
        self.is_done = False
        self.is_killed = False
        self._body = body
        self._turn = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._fate: Fate
        self._thread: threading.Thread | None = None

    def resume(self, fate: Fate) -> None:
        if self.is_done:
            raise RuntimeError(f"it ended at {self.point}")
        self._fate = fate
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        else:
            self._turn.release()
        self._back.acquire()

    def kill(self) -> None:
        """Unwind it, wherever it is."""
        self.is_killed = True
        while self._thread is not None and not self.is_done:
            self._turn.release()
            self._back.acquire()
        self.is_done = True

    def park(self, point: str) -> Fate:
        """Called inside of it."""
        self.check()
        self.point = point
        self._back.release()
        self._turn.acquire()
        self.check()
        return self._fate

    def check(self) -> None:
        if self.is_killed:
            raise Killed

    def _run(self) -> None:
        _here.fiber = self
        try:
            self._body()
        except Killed:
            pass
        finally:
            self.is_done = True
            self._back.release()


def this_fiber() -> "Fiber[object]":
    fiber: Fiber[object] = _here.fiber
    return fiber
