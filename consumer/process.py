"""How does one process live: signals, the health pages, patience at the start, one line and an exit code at the end?"""

import faulthandler
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import TypeVar

from consumer.errors import Fatal, Unavailable, Unreachable
from consumer.health import Health, HealthServer, Numbers
from consumer.retry import delays
from consumer.settings import Settings

logger = logging.getLogger(__name__)

LEAVING_TIME = 5.0  # seconds that leaving the group may take beyond the drain
SIGNALS_SEEN_EVERY = 0.5
FROZEN = 180.0
"""Seconds after which a process whose loop stands still ends with 1. They begin when the interpreter stops running, as
in C code that waits for ever and keeps its lock (librdkafka's deadlock of issue 5476), else when /livez turns red."""
_STDERR = 2
T = TypeVar("T")


class Process:
    """`main` runs the work in a thread of its own; signals stay with the main thread."""

    def __init__(self, settings: Settings, health: Health, numbers: Numbers) -> None:
        self._settings = settings
        self._health = health
        self._numbers = numbers
        self._was_asked = False
        self._error: BaseException | None = None
        self._armed_at = -math.inf
        self.stopping = threading.Event()
        self.is_running = False
        """Set once there is something to drain; until then a signal ends the process at once."""

    def main(self, work: Callable[[], None]) -> int:
        """Run until done or until a signal; returns the exit code."""
        thread = threading.Thread(target=partial(self._guarded, work), name="runner", daemon=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        thread.start()
        try:
            while thread.is_alive() and not self.stopping.is_set():
                self._look_at(thread, SIGNALS_SEEN_EVERY)
            last = time.monotonic() + self._settings.delivery.drain_timeout + LEAVING_TIME
            while thread.is_alive() and (left := last - time.monotonic()) > 0:
                self._look_at(thread, min(left, SIGNALS_SEEN_EVERY))
        finally:
            faulthandler.cancel_dump_traceback_later()
        if thread.is_alive():
            logger.warning("leaving the group took too long; the broker will find out by itself")
            return 0 if self._was_asked else Fatal.exit_code
        return self._exit_code()

    def _look_at(self, thread: threading.Thread, seconds: float) -> None:
        thread.join(seconds)
        # Counts anew now and then: each time costs a thread. faulthandler's thread needs nothing of Python to end us.
        if self._health.is_turning and time.monotonic() - self._armed_at > FROZEN / 12:
            self._armed_at = time.monotonic()
            faulthandler.dump_traceback_later(FROZEN, exit=True, file=_STDERR)

    def patiently(self, check: str, call: Callable[[], T], deadline: float) -> T:
        """Try until it answers; alive and not ready meanwhile. Raises Unreachable after limits.startup_timeout."""
        for delay in delays():
            try:
                answer = call()
            except Unavailable as error:
                if time.monotonic() + delay > deadline:
                    limit = self._settings.limits.startup_timeout
                    raise Unreachable(f"{error} (tried for {limit:g} s, limits.startup_timeout)") from error
                if self._health.readiness[check] == "starting":  # later changes are logged by the health page
                    logger.warning("waiting", extra={"check": check, "reason": str(error)})
                self._health.set(check, str(error))
                self.stopping.wait(delay)
            else:
                self._health.set(check, None)
                return answer
        raise AssertionError("delays() has no end")

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.stopping.is_set():
            os._exit(128 + number)
        logger.info("stopping", extra={"signal": signal.Signals(number).name})
        self._was_asked = True
        self.stopping.set()
        if not self.is_running:
            os._exit(0)  # not in the group yet: there is nothing to drain, and loading weights cannot be interrupted

    def _exit_code(self) -> int:
        match self._error:
            case None:
                return 0
            case Fatal() as error:
                logger.error("%s", error, extra={"exit_code": error.exit_code})
                return error.exit_code
            case error:
                logger.error("a bug", exc_info=error, extra={"exit_code": 70})
                return 70

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            with HealthServer(self._settings.http, self._health, self._numbers):
                work()
        except BaseException as error:  # noqa: BLE001  # handed to the main thread
            self._error = error
