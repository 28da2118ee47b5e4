"""One engine in a process of its own: its start, its memory and its CPU time are nobody else's."""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from consumer.errors import Fatal
from consumer.messages import Parameters
from consumer.settings import BatchingSettings, ModelSettings

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from consumer.detection.engine import Candidates, Engine, Model, Pixels

# `ru_maxrss` is in kB on Linux and in bytes on macOS.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class Started:
    model: Model
    seconds: float
    found: list[Candidates]


@dataclass(frozen=True, slots=True)
class Round:
    """`alone` is how many seconds one image takes when nothing else runs; `rss` the most bytes until now."""

    images: int
    seconds: float
    cpu_seconds: float
    alone: float
    rss: int


class CannotRunError(Exception):
    """The engine does not run, or no longer; the text says why."""


class Contender:
    """Starts the process; `close` ends it. All else raises CannotRunError if the engine cannot run, or ends with it."""

    def __init__(self, settings: ModelSettings, images: Sequence[Pixels], parameters: Parameters) -> None:
        context = multiprocessing.get_context("spawn")  # a copy of this process would share its threads' locks
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, settings, parameters), daemon=True)
        self._process.start()
        theirs.close()
        try:
            self._pipe.send(list(images))
            self.started: Started = self._answer()
        except (CannotRunError, OSError) as error:
            self.close()
            raise CannotRunError(str(error)) from None

    def run(self, seconds: float) -> Round:
        try:
            self._pipe.send(seconds)
        except OSError as error:
            raise CannotRunError(f"its process is gone: {error}") from None
        answer: Round = self._answer()
        return answer

    def close(self) -> None:
        with suppress(OSError):
            self._pipe.send(None)
        self._process.join(timeout=10)
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _answer(self) -> Any:
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(timeout=10)
            raise CannotRunError(f"its process ended with {self._process.exitcode}") from None
        if isinstance(answer, str):
            raise CannotRunError(answer)
        return answer


def _serve(pipe: Connection, settings: ModelSettings, parameters: Parameters) -> None:
    images: list[Pixels] = pipe.recv()
    try:
        engine, started, batches = _start(settings, images, parameters)
        pipe.send(started)
        while (seconds := pipe.recv()) is not None:
            pipe.send(_round(engine, batches, seconds))
        engine.close()
    except (EOFError, KeyboardInterrupt):  # whoever asked is gone
        return
    except Fatal as error:
        pipe.send(str(error))
    except Exception as error:  # noqa: BLE001  # whatever an engine raises is a row of the table
        pipe.send(f"{type(error).__name__}: {error}")


def _start(
    settings: ModelSettings, images: Sequence[Pixels], parameters: Parameters
) -> tuple[Engine, Started, list[Pixels]]:
    begun = time.perf_counter()
    from consumer.detection.loading import load
    from consumer.weighing.samples import batches_of, found_by, slots_of

    engine = load(settings, BatchingSettings())
    seconds = time.perf_counter() - begun
    slots = list(
        slots_of(
            images,
            image_size=engine.model.image_size,
            stride=engine.model.stride,
            rectangular=settings.shapes == "rectangular",
        )
    )
    started = Started(engine.model, seconds, found_by(engine, slots, parameters))
    return engine, started, batches_of(slots, engine.max_batch)


def _round(engine: Engine, batches: Sequence[Pixels], seconds: float) -> Round:
    """All places full for so long, then one image alone. Every batch is given at least once."""
    running: deque[Any] = deque()
    begun, cpu_begun, images, number = time.perf_counter(), time.process_time(), 0, 0
    while number < len(batches) or time.perf_counter() - begun < seconds:
        running.append(engine.start(batches[number % len(batches)]))
        images += len(batches[number % len(batches)])
        number += 1
        if len(running) >= 2 * engine.places:  # one runs in each place, one waits for it
            running.popleft().result()
    while running:
        running.popleft().result()
    taken, cpu = time.perf_counter() - begun, time.process_time() - cpu_begun
    return Round(images, taken, cpu, _alone(engine, batches), _most_memory())


def _alone(engine: Engine, batches: Sequence[Pixels]) -> float:
    times = []
    for batch in batches[:5]:
        begun = time.perf_counter()
        engine.start(batch[:1]).result()
        times.append(time.perf_counter() - begun)
    return min(times)


def _most_memory() -> int:
    """Of this process since its start; Linux tells it apart from what it was forked from."""
    with suppress(OSError, StopIteration, ValueError), open(f"/proc/{os.getpid()}/status", encoding="ascii") as file:  # noqa: PTH123
        return int(next(line for line in file if line.startswith("VmHWM:")).split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT
