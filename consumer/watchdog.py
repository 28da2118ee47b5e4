"""Is a decoding stuck, or does the engine answer wrongly? Looked at once a second, beside the jobs."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import Protocol

from consumer.canary import WrongAnswer
from consumer.errors import Abandoned, EngineBroken, Fatal
from consumer.inspector import Decoding

logger = logging.getLogger(__name__)

PERIOD = 1.0
IDLE = 5.0  # seconds without a batch after which the canary is asked
LATEST = (
    60.0  # seconds after which it is asked of a busy engine too, which else would be wrong for as long as work lasts
)
STUCK = 2  # times limits.job_deadline: a decoding that ends between the two is the image's fault, not the process's


class Canary(Protocol):
    """See canary.py."""

    @property
    def idle_for(self) -> float: ...
    def ask(self) -> None: ...


class Watchdog:
    """Looks at what the jobs themselves cannot see. `look` is called about every `PERIOD`."""

    def __init__(
        self,
        decoding: Callable[[], Collection[Decoding]],
        canary: Canary,
        *,
        deadline: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._decoding = decoding
        self._canary = canary
        self._deadline = deadline
        self._clock = clock
        self._looks: dict[Decoding, int] = {}
        self._asked_at = clock()
        self._was_wrong = False

    def look(self) -> None:
        """Raises EngineBroken when the process must end, Abandoned when it ends already."""
        self._look_at_decodings()
        if self._was_wrong or self._canary.idle_for >= IDLE or self._clock() - self._asked_at >= LATEST:
            self._ask()

    def _look_at_decodings(self) -> None:
        """Time counts by looks: while the process is stopped (SIGSTOP, a frozen machine) nobody looks."""
        self._looks = {decoding: self._looks.get(decoding, 0) + 1 for decoding in self._decoding()}
        for decoding, looks in self._looks.items():
            if (looks - 1) * PERIOD > STUCK * self._deadline:
                lasts = self._clock() - decoding.began
                limit = f"limit {STUCK} x {self._deadline:g} s (limits.job_deadline)"
                raise EngineBroken(f"decoding {decoding.image} of job {decoding.job_id} lasts {lasts:.0f} s, {limit}")

    def _ask(self) -> None:
        self._asked_at = self._clock()
        try:
            self._canary.ask()
        except WrongAnswer as error:
            if self._was_wrong:
                raise
            self._was_wrong = True
            logger.warning("the canary is asked once more", extra={"reason": str(error)})
        else:
            self._was_wrong = False


@contextlib.contextmanager
def watched(watchdog: Watchdog, fail: Callable[[Fatal], None]) -> Iterator[None]:
    """While the `with` lasts a thread, named `watchdog`, looks and fails the process."""
    closing = threading.Event()

    def watch() -> None:
        try:
            while not closing.wait(PERIOD):
                watchdog.look()
        except Abandoned:
            pass
        except Fatal as error:
            fail(error)
        except BaseException as error:
            logger.exception("the watchdog failed")
            fail(Fatal(f"the watchdog failed: {type(error).__name__}: {error}"))

    threading.Thread(target=watch, name="watchdog", daemon=True).start()
    try:
        yield
    finally:
        closing.set()
