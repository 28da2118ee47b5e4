"""How is a whole process of the program run step by step, without Kafka, images or a clock?

Runner, ledger, custodian, source and delivery are the shipped ones; the clients are those of model_clients.py. The loop
is one fiber, and so is every job once it was begun.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from consumer import custody, runner
from consumer.app import CHECKS
from consumer.errors import Unavailable
from consumer.health import Health
from consumer.inspector import Claim
from consumer.kafka import exactly_once, source
from consumer.kafka.exactly_once import ExactlyOnce
from consumer.kafka.source import Source
from consumer.kafka.topics import Topics
from consumer.messages import DeadLetter, Job, Message, Outcome, Result
from consumer.metrics import Metrics
from consumer.runner import Runner, Stopped
from consumer.settings import Settings
from tests.rigs.fiber import Fiber, Killed, this_fiber
from tests.rigs.model_broker import Broker
from tests.rigs.model_clients import Fate, ModelConsumer, ModelLogOffsets, ModelProducer
from tests.unit.samples import a_result

BODY = a_result().body
ROOM = 12


class Clock:
    """What the modules under test take for `time`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


class Leave:
    """What custody takes for `threading.Event`: who waits parks."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def wait(self, _: float) -> bool:
        if not self._is_set:
            this_fiber().park("leave")
        return self._is_set


class Workers:
    """In place of the pool of threads: nothing is begun before the test says so."""

    def __init__(self) -> None:
        self.fibers: list[Fiber[Any]] = []

    def submit(self, work: Callable[..., None], *arguments: Any) -> None:
        self.fibers.append(Fiber(partial(work, *arguments), point="queued"))

    def shutdown(self, *, wait: bool, cancel_futures: bool) -> None:
        pass


class Process:
    """One `consumer run`. `ended` says how it ended by itself, `is_dead` that it was killed."""

    def __init__(self, slot: str, broker: Broker, clock: Clock) -> None:
        self.slot = slot
        self.broker = broker
        self.clock = clock
        self.is_dead = False
        self.ended: Stopped | BaseException | None = None
        self.deaths: list[tuple[int, int, int]] = []  # the job that killed it
        self.stopping = threading.Event()
        self.consumer: ModelConsumer | None = None
        metrics = Metrics()
        health = Health(metrics, CHECKS)
        self.runner = Runner(
            SETTINGS, inspect=self._inspect, encode=_encode, health=health, metrics=metrics, stopping=self.stopping
        )
        self.name: str = self.runner._custodian._process
        self.workers = Workers()
        self.runner._workers = self.workers  # type: ignore[assignment]
        self._source = Source(SETTINGS, self.runner, log_offsets=ModelLogOffsets(self))  # type: ignore[arg-type]
        self._delivery = ExactlyOnce(
            SETTINGS,
            Topics("jobs", "results", "dead-letters", broker.partitions, broker.outputs, broker.outputs, 10**6, 10**6),
            self._source,
            slot=slot,
            owns=self.runner.owns,
            pump=self.runner.pump,
            exchange=self.runner.exchange,
        )
        self.loop: Fiber[Fate] = Fiber(self._run, point="born")

    # --- from outside ---------------------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        return not self.is_dead and not self.loop.is_done

    @property
    def point(self) -> str:
        return self.loop.point

    @property
    def begun(self) -> list[Fiber[Any]]:
        """Jobs that can go on."""
        return [fiber for fiber in self.workers.fibers if not fiber.is_done] if self.is_running else []

    def step(self, fate: Fate = Fate.GO) -> None:
        """To the next call of the loop."""
        with _in(self):
            self.loop.resume(fate)
        self._tidy()

    def work(self, fiber: Fiber[Any]) -> None:
        """One job as far as it goes."""
        with _in(self):
            fiber.resume(Fate.GO)
        self._tidy()

    def kill(self) -> None:
        self.is_dead = True
        self._tidy()

    def _tidy(self) -> None:
        self.workers.fibers = [fiber for fiber in self.workers.fibers if not fiber.is_done]
        if not self.is_running:
            for fiber in (self.loop, *self.workers.fibers):
                fiber.kill()

    # --- from inside ----------------------------------------------------------------------------------------------

    def park(self, point: str) -> Fate:
        return this_fiber().park(point)  # type: ignore[return-value]

    def check(self) -> None:
        this_fiber().check()

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    def _run(self) -> None:
        try:
            while not self._is_open():
                self.park("waiting")
            self.ended = self.runner.run(self._source, self._delivery)
        except Killed:
            raise
        except BaseException as error:  # noqa: BLE001  # the test looks at it
            self.ended = error

    def _is_open(self) -> bool:
        try:
            self._delivery.open()
        except Unavailable:
            return False
        return True

    def _inspect(self, job: Job, claim: Claim) -> Outcome:
        claim.take_in_hand()
        self.park("decode")
        if job.image.key == "killer":
            self.is_dead = True
            self.deaths.append((job.record.partition, job.record.offset, job.index))
            this_fiber().is_killed = True
            self.check()
        return Result(job, BODY)


_running: list[Process] = []


@contextmanager
def _in(process: Process) -> Iterator[None]:
    _running.append(process)
    try:
        yield
    finally:
        _running.pop()


def _producer(properties: dict[str, Any]) -> ModelProducer:
    return ModelProducer(_running[-1], properties)


def _consumer(properties: dict[str, Any]) -> ModelConsumer:
    process = _running[-1]
    process.consumer = ModelConsumer(process, properties)
    return process.consumer


def install(patch: pytest.MonkeyPatch, clock: Clock) -> None:
    """Put clock, clients and events of the model in the place of the real ones."""
    for module in (runner, exactly_once, source):
        patch.setattr(module, "time", clock)
    names = (f"process-{number}" for number in range(10**6))
    patch.setattr(runner, "secrets", SimpleNamespace(token_hex=lambda _: next(names)))
    patch.setattr(custody, "threading", SimpleNamespace(Event=Leave, Lock=threading.Lock))
    patch.setattr(exactly_once, "Producer", _producer)
    patch.setattr(exactly_once, "call_within", lambda _, call, **__: call())  # a fiber does not change its thread
    patch.setattr(source, "Consumer", _consumer)


def _encode(outcome: Outcome) -> Message:
    """Just whose outcome it is; the broker refuses results that are called large."""
    if isinstance(outcome, DeadLetter):
        record, index, reason = outcome.record, outcome.index or 0, outcome.reason
    else:
        record, index, reason = outcome.job.record, outcome.job.index, None
        if outcome.job.image.key == "large":
            return _message(outcome, record.partition, record.offset, index, "large")
    return _message(outcome, record.partition, record.offset, index, reason)


def _message(outcome: Outcome, partition: int, offset: int, index: int, reason: str | None) -> Message:
    return Message(outcome, None, json.dumps([partition, offset, index, reason]).encode(), ())


SETTINGS = Settings(
    images={"allowed_buckets": ["parts"]},  # type: ignore[arg-type]
    topics={"jobs": "jobs", "results": "results", "dead_letters": "dead-letters"},  # type: ignore[arg-type]
    limits={"max_in_flight": ROOM, "dead_letter_ratio": 1, "dead_letter_run": 0},  # type: ignore[arg-type]
    delivery={"interval": 0, "drain_timeout": 5, "slot": "a"},  # type: ignore[arg-type]
)
