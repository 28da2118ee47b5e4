"""How many bytes of fetched images may wait for their decoding."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

RECHECK = 0.1  # seconds after which a waiter asks again whether it has become urgent


class ByteBudget:
    """Bytes are taken before an image's body is read and given back after its decoding. A partition's head is always
    admitted, else stuck heads could lock the budget between them."""

    def __init__(self, limit: int, *, on_change: Callable[[int], object]) -> None:
        self._limit = limit
        self._held = 0
        self._on_change = on_change
        self._freed = threading.Condition()

    def lease(self, *, is_urgent: Callable[[], bool], check: Callable[[], None]) -> "Lease":
        """`check` raises when the job is not ours any more; it ends the waiting."""
        return Lease(self, is_urgent, check)

    def take(self, size: int, is_urgent: Callable[[], bool], check: Callable[[], None]) -> None:
        with self._freed:
            while self._held and self._held + size > self._limit and not is_urgent():
                self._freed.wait(RECHECK)
                check()
            self._change(size)

    def give_back(self, size: int) -> None:
        with self._freed:
            self._change(-size)
            self._freed.notify_all()

    def _change(self, size: int) -> None:
        self._held += size
        self._on_change(self._held)


class Lease:
    """What one job holds of the budget; leaving the `with` gives all of it back."""

    def __init__(self, budget: ByteBudget, is_urgent: Callable[[], bool], check: Callable[[], None]) -> None:
        self._budget = budget
        self._is_urgent = is_urgent
        self._check = check
        self._size = 0

    def take(self, size: int) -> None:
        """Wait until there is room for `size` bytes more."""
        self._budget.take(size, self._is_urgent, self._check)
        self._size += size

    def give_back(self) -> None:
        size, self._size = self._size, 0
        if size:
            self._budget.give_back(size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.give_back()
