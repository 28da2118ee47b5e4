"""Composition root: settings → parts → a running process.

The order is that of the promise "what runs is what the settings say": everything that a person can get wrong is looked
at before the group is joined, and the engine is warm by then.
"""

import contextlib
import logging
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial

from consumer.detection.engine import Model
from consumer.detection.telemetry import open_telemetry
from consumer.health import Health
from consumer.images.availability import Availability
from consumer.images.store import ImageStore
from consumer.inspector import Inspector
from consumer.kafka.at_least_once import AtLeastOnce
from consumer.kafka.exactly_once import ExactlyOnce
from consumer.kafka.source import Source
from consumer.kafka.topics import LogOffsets, Topics, read_topics
from consumer.messages import encode
from consumer.metrics import Metrics
from consumer.process import Process
from consumer.runner import Runner
from consumer.settings import Settings
from consumer.station import open_inspector
from consumer.tracing import Tracing, open_tracing
from consumer.watchdog import Watchdog, watched

logger = logging.getLogger(__name__)

CHECKS = ("engine", "store", "broker", "delivery", "group", "dead_letters")
ATTEMPT = 5.0
IDLE = 10.0  # seconds without an image from a bucket after which the store is asked


class App:
    """One consumer process."""

    def __init__(self, settings: Settings, *, until_caught_up: bool = False) -> None:
        self._settings = settings
        self._until_caught_up = until_caught_up
        self._metrics = Metrics()
        self._health = Health(self._metrics, CHECKS)
        self._process = Process(settings, self._health, self._metrics)

    def main(self) -> int:
        """Run until done or until a signal; returns the exit code."""
        return self._process.main(self._run)

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
                closing=self._process.stopping,
                observe=tracing.inspected if tracing else None,
            ) as inspector,
        ):
            self._announce(inspector.model)
            attempt = min(ATTEMPT, settings.limits.startup_timeout)
            topics = self._process.patiently("broker", partial(read_topics, settings, timeout=attempt), deadline)
            self._process.patiently("store", store.check, deadline)
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
            stopping=self._process.stopping,
            tracing=tracing,
        )
        log_offsets = LogOffsets(settings)
        source = Source(settings, runner, log_offsets=log_offsets)
        build = partial(ExactlyOnce, slot=_slot(settings)) if settings.delivery.mode == "exactly_once" else AtLeastOnce
        delivery = build(settings, topics, source, owns=runner.owns, pump=runner.pump, exchange=runner.exchange)
        self._process.patiently("delivery", delivery.open, deadline)
        until = None
        if self._until_caught_up:
            until = self._process.patiently("broker", partial(log_offsets.ends, timeout=ATTEMPT), deadline)
        self._health.set("dead_letters", None)
        self._process.is_running = True
        watchdog = Watchdog(lambda: inspector.decoding, inspector.canary, deadline=settings.limits.job_deadline)
        with watched(watchdog, runner.fail):
            stopped = runner.run(source, delivery, until=until)
        logger.info("done", extra={"because": stopped.value})

    def _announce(self, model: Model) -> None:
        self._health.set("engine", None)
        labels = (model.name, model.sha256, model.task, model.engine, model.precision, model.device)
        self._metrics.model_info.labels(*labels).set(1)
        if telemetry := open_telemetry(model.device):
            self._metrics.registry.register(telemetry)
        logger.info("engine is warm", extra={"model": model.name, "engine": model.engine, "precision": model.precision})


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
