"""Composition root: settings → parts → a running process.

The order is that of the promise "what runs is what the settings say": everything that a person can get wrong is looked
at before the group is joined, and the engine is warm by then.
"""

import contextlib
import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import TypeVar

from consumer.detection.engine import Model
from consumer.errors import Fatal, Unavailable, Unreachable
from consumer.health import Health, HealthServer
from consumer.images.availability import Availability
from consumer.images.store import ImageStore
from consumer.inspector import Inspector
from consumer.kafka.at_least_once import AtLeastOnce
from consumer.kafka.exactly_once import ExactlyOnce
from consumer.kafka.source import Source
from consumer.kafka.topics import LogOffsets, Topics, read_topics
from consumer.messages import encode
from consumer.metrics import Metrics
from consumer.retry import delays
from consumer.runner import Runner
from consumer.settings import Settings
from consumer.station import open_inspector
from consumer.tracing import Tracing, open_tracing
from consumer.watchdog import Watchdog, watched

logger = logging.getLogger(__name__)

CHECKS = ("engine", "store", "broker", "delivery", "group", "dead_letters")
LEAVING_TIME = 5.0  # seconds that leaving the group may take beyond the drain
ATTEMPT = 5.0
SIGNALS_SEEN_EVERY = 0.5
IDLE = 10.0  # seconds without an image from a bucket after which the store is asked
T = TypeVar("T")


class App:
    """One consumer process. `run` blocks in a thread of its own; signals stay with the main thread."""

    def __init__(self, settings: Settings, *, until_caught_up: bool = False) -> None:
        self._settings = settings
        self._until_caught_up = until_caught_up
        self._stopping = threading.Event()
        self._is_running = False
        self._was_asked = False
        self._error: BaseException | None = None
        self._metrics = Metrics()
        self._health = Health(self._metrics, CHECKS)

    def main(self) -> int:
        """Run until done or until a signal; returns the exit code."""
        thread = threading.Thread(target=self._guarded, name="runner", daemon=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        thread.start()
        while thread.is_alive() and not self._stopping.is_set():
            thread.join(SIGNALS_SEEN_EVERY)
        thread.join(self._settings.delivery.drain_timeout + LEAVING_TIME)
        if thread.is_alive():
            logger.warning("leaving the group took too long; the broker will find out by itself")
            return 0 if self._was_asked else Fatal.exit_code
        return self._exit_code()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._stopping.is_set():
            os._exit(128 + number)
        logger.info("stopping", extra={"signal": signal.Signals(number).name})
        self._was_asked = True
        self._stopping.set()
        if not self._is_running:
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

    def _guarded(self) -> None:
        try:
            with HealthServer(self._settings.http, self._health, self._metrics):
                self._run()
        except BaseException as error:  # noqa: BLE001  # handed to the main thread
            self._error = error

    # --- start ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        settings = self._settings
        deadline = time.monotonic() + settings.limits.startup_timeout
        store = ImageStore(settings.s3, settings.images)
        availability = Availability(store.probe)
        with (
            open_tracing(settings) as tracing,
            open_inspector(
                settings,
                images=store,
                availability=availability,
                metrics=self._metrics,
                closing=self._stopping,
                observe=tracing.inspected if tracing else None,
            ) as inspector,
        ):
            self._announce(inspector.model)
            attempt = min(ATTEMPT, settings.limits.startup_timeout)
            topics = self._patiently("broker", partial(read_topics, settings, timeout=attempt), deadline)
            self._patiently("store", store.check, deadline)
            buckets = [bucket for bucket in settings.images.allowed_buckets if bucket != "*"]
            for bucket in buckets:
                availability.succeeded(bucket)
            with _watching(availability, buckets, self._health):
                self._consume(inspector, topics, tracing, deadline)

    def _consume(self, inspector: Inspector, topics: Topics, tracing: Tracing | None, deadline: float) -> None:
        settings = self._settings
        runner = Runner(
            settings,
            inspect=inspector.inspect,
            encode=partial(
                encode, max_result_bytes=topics.max_result_bytes, max_dead_letter_bytes=topics.max_dead_letter_bytes
            ),
            health=self._health,
            metrics=self._metrics,
            stopping=self._stopping,
            tracing=tracing,
        )
        log_offsets = LogOffsets(settings)
        source = Source(settings, runner, log_offsets=log_offsets)
        build = partial(ExactlyOnce, slot=_slot(settings)) if settings.delivery.mode == "exactly_once" else AtLeastOnce
        delivery = build(settings, topics, source, owns=runner.owns, pump=runner.pump, exchange=runner.exchange)
        self._patiently("delivery", delivery.open, deadline)
        until = None
        if self._until_caught_up:
            until = self._patiently("broker", partial(log_offsets.ends, timeout=ATTEMPT), deadline)
        self._health.set("dead_letters", None)
        self._is_running = True
        watchdog = Watchdog(lambda: inspector.decoding, inspector.canary, deadline=settings.limits.job_deadline)
        with watched(watchdog, runner.fail):
            stopped = runner.run(source, delivery, until=until)
        logger.info("done", extra={"because": stopped.value})

    def _announce(self, model: Model) -> None:
        self._health.set("engine", None)
        labels = (model.name, model.sha256, model.task, model.engine, model.precision, model.device)
        self._metrics.model_info.labels(*labels).set(1)
        logger.info("engine is warm", extra={"model": model.name, "engine": model.engine, "precision": model.precision})

    def _patiently(self, check: str, call: Callable[[], T], deadline: float) -> T:
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
                self._stopping.wait(delay)
            else:
                self._health.set(check, None)
                return answer
        raise AssertionError("delays() has no end")


def _slot(settings: Settings) -> str:
    """A slot of our own unless one is given: safe anywhere, at the price that a killed owner's open transaction
    delays its partitions by up to the transaction time-out."""
    slot = settings.delivery.slot
    return f"{socket.gethostname()}-{secrets.token_hex(4)}" if slot == "auto" else slot


@contextlib.contextmanager
def _watching(availability: Availability, buckets: list[str], health: Health) -> Iterator[None]:
    """While the `with` lasts a thread, named `store`, asks red buckets again, and those that no job has asked for some
    time, and tells readiness."""
    closing = threading.Event()

    def watch() -> None:
        while not closing.wait(1.0):
            availability.refresh()
            for bucket in buckets:
                availability.answers_since(bucket, time.monotonic() - IDLE)
            health.set("store", availability.reason())

    thread = threading.Thread(target=watch, name="store", daemon=True)
    thread.start()
    try:
        yield
    finally:
        closing.set()
