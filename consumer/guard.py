"""When so many jobs fail that it is a bad deploy or a bad batch of input: the process holds instead of draining the
topic into the dead letters."""

from collections import Counter, deque
from collections.abc import Iterable
from copy import copy

from consumer.errors import Reason, TooManyDeadLetters
from consumer.settings import LimitSettings

WINDOW = 1000
FIRST_JUDGED = 200  # a ratio of fewer outcomes says nothing


class DeadLetterGuard:
    """Looks at outcomes in the order in which they would be delivered. Jobs that expired were set aside on purpose
    and count neither way."""

    def __init__(self, limits: LimitSettings) -> None:
        self._ratio = limits.dead_letter_ratio
        self._run = limits.dead_letter_run
        self._window: deque[Reason | None] = deque(maxlen=WINDOW)
        self._in_a_row = 0

    def check(self, reasons: Iterable[Reason | None]) -> None:
        """Raises TooManyDeadLetters if delivering these (None for a result) would pass a limit. Notes nothing."""
        reasons = tuple(reasons)
        if not any(reasons):
            return
        ahead = copy(self)
        ahead._window = self._window.copy()
        for reason in reasons:
            ahead.note((reason,))
            ahead._judge()

    def note(self, reasons: Iterable[Reason | None]) -> None:
        """These were delivered."""
        for reason in reasons:
            if reason == "job_expired":
                continue
            self._window.append(reason)
            self._in_a_row = self._in_a_row + 1 if reason else 0

    def _judge(self) -> None:
        if self._run and self._in_a_row >= self._run:
            raise TooManyDeadLetters(
                f"{self._in_a_row} jobs in a row failed (limits.dead_letter_run), the last with {self._window[-1]}"
            )
        failed = len(self._window) - self._window.count(None)
        if len(self._window) >= FIRST_JUDGED and failed > self._ratio * len(self._window):
            raise TooManyDeadLetters(
                f"{failed} of the last {len(self._window)} jobs failed (limits.dead_letter_ratio {self._ratio}), "
                f"mostly with {Counter(filter(None, self._window)).most_common(1)[0][0]}"
            )
