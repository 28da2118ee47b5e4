"""What does one image cost on this machine? CPU time where that runs out, wall time where a device is waited for.

The stages are measured one by one, since a sum would hide 100 µs of Python behind 20 ms of engine.
"""

import contextlib
import platform
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

import numpy as np

from consumer import __version__
from consumer.cgroup import read
from consumer.checkup.memory import resident_memory
from consumer.cores import available_cores
from consumer.detection.engine import Candidates, Engine, Model, Pixels, Shape
from consumer.detection.loading import load
from consumer.errors import EngineBroken, Rejected, SettingsError
from consumer.images.decode import Decoded, decode
from consumer.images.letterbox import letterbox, shape_of
from consumer.messages import Result, encode_result, size_of
from consumer.planning.measurements import SCHEMA, EngineWork, Images, Measurements, Work
from consumer.planning.records import answer_of, job_of
from consumer.planning.samples import Sample
from consumer.settings import Settings

STAGE_SECONDS = 0.4  # for each stage
ENGINE_SECONDS = 1.0  # for each of the rounds of which the middle one counts
ROUNDS = 3
ANSWER_WITHIN = 300.0
OF_THE_ENGINE = 4  # samples: each is held as a whole batch

# CPU seconds of a GET through obstore, as far as nothing was fetched: so much, and so much a byte. Measured with images
# of 70 and 345 kB, over loopback; the ones of TLS are reckoned from it.
GET_PLAIN = (150e-6, 0.44e-9)
GET_TLS = (370e-6, 1.8e-9)
# CPU seconds of what no stage shows: consuming, threads that take over from each other, ledger, delivery. From what
# tests/scaling saw of replicas at 40 and at 160 images/s.
HANDOVER = 600e-6
STANDING = 0.04  # of a core


@dataclass(frozen=True, slots=True)
class _Seen:
    """A sample on its way: as pixels, in its slot, and what the engine said of it."""

    sample: Sample
    decoded: Decoded
    shape: Shape
    candidates: Candidates

    def answer(self, settings: Settings, model: Model) -> Result:
        image = self.sample.image
        size = len(self.sample.content), self.decoded.width, self.decoded.height
        return answer_of(settings.model, model, image, size=size, candidates=self.candidates)


def measure(settings: Settings, samples: Sequence[Sample]) -> Measurements:
    """Takes some seconds, and all cores. Raises SettingsError for weights, engine or images that cannot be run."""
    with contextlib.closing(load(settings.model, settings.batching)) as engine:
        seen = [_look(engine, settings, sample) for sample in samples]
        resident = resident_memory() or 1
        work = _work(settings, engine.model, seen)
        answers = [one.answer(settings, engine.model) for one in seen]
        height, width = engine.model.image_size
        return Measurements(
            schema=SCHEMA,
            measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
            version=__version__,
            machine=_machine(),
            cores=available_cores(),
            images=_images(seen),
            work=work,
            engine=_engine_work(engine, seen),
            job_bytes=_mean([size_of(job_of(one.sample.image), None, ()) for one in seen]),
            result_bytes=_mean([encode_result(answer).size for answer in answers]),
            resident_bytes=resident,
            slot_bytes=2 * (engine.places + 1) * engine.max_batch * height * width * 3,
        )


def _look(engine: Engine, settings: Settings, sample: Sample) -> _Seen:
    model = engine.model
    try:
        decoded = decode(sample.content, settings.images, image_size=model.image_size)
    except Rejected as rejection:
        raise SettingsError(f"--images: {sample.name}: {rejection}") from rejection
    shape = _shape_of(settings, model, decoded)
    slot = np.empty((1, *shape, 3), np.uint8)
    letterbox(decoded.pixels, slot[0], image_size=model.image_size, image=(decoded.height, decoded.width))
    return _Seen(sample, decoded, shape, np.array(engine.start(slot).result(ANSWER_WITHIN)[0]))


def _shape_of(settings: Settings, model: Model, decoded: Decoded) -> Shape:
    rectangular = settings.model.shapes == "rectangular"
    sizes = {"image_size": model.image_size, "stride": model.stride}
    return shape_of(decoded.width, decoded.height, **sizes, rectangular=rectangular)  # type: ignore[arg-type]


def _images(seen: Sequence[_Seen]) -> Images:
    sizes = {f"{one.decoded.width}x{one.decoded.height}" for one in seen}
    return Images(
        size=sizes.pop() if len(sizes) == 1 else "mixed",
        count=len(seen),
        bytes=_mean([len(one.sample.content) for one in seen]),
        pixels=_mean([one.decoded.width * one.decoded.height for one in seen]),
    )


# --- stages ---------------------------------------------------------------------------------------------------------


def _work(settings: Settings, model: Model, seen: Sequence[_Seen]) -> Work:
    fetch, source = _fetch(settings, seen)
    slot = {one.shape: np.empty((*one.shape, 3), np.uint8) for one in seen}

    def place(one: _Seen) -> object:
        whole = one.decoded.height, one.decoded.width
        return letterbox(one.decoded.pixels, slot[one.shape], image_size=model.image_size, image=whole)

    return Work(
        fetch=fetch,
        decode=_thread_seconds(
            lambda one: decode(one.sample.content, settings.images, image_size=model.image_size), seen
        ),
        letterbox=_thread_seconds(place, seen),
        select=_thread_seconds(lambda one: encode_result(one.answer(settings, model)), seen),
        handover=HANDOVER,
        standing=STANDING,
        fetch_source=source,
    )


def _fetch(settings: Settings, seen: Sequence[_Seen]) -> tuple[float, str]:
    spent = [one.sample.fetch_seconds for one in seen if one.sample.fetch_seconds is not None]
    if spent:
        return statistics.median(spent), "measured"
    is_plain = (settings.s3.endpoint_url or "").startswith("http://")
    base, per_byte = GET_PLAIN if is_plain else GET_TLS
    size = statistics.mean(len(one.sample.content) for one in seen)
    return base + per_byte * size, "constant of a plain GET" if is_plain else "constant of a GET over TLS"


def _thread_seconds(stage: Callable[[_Seen], object], seen: Sequence[_Seen]) -> float:
    """The median over rounds through all samples, per image, of this thread's CPU time."""
    rounds: list[float] = []
    until = time.perf_counter() + STAGE_SECONDS
    while len(rounds) < ROUNDS or time.perf_counter() < until:
        begun = time.thread_time()
        for one in seen:
            stage(one)
        rounds.append((time.thread_time() - begun) / len(seen))
    return max(statistics.median(rounds), 1e-9)


# --- the engine -----------------------------------------------------------------------------------------------------


def _engine_work(engine: Engine, seen: Sequence[_Seen]) -> EngineWork:
    batches = [_full_batch(engine, one) for one in seen[:OF_THE_ENGINE]]
    rounds = sorted(_round(engine, batches) for _ in range(ROUNDS))
    seconds, cpu_seconds = rounds[ROUNDS // 2]
    model = engine.model
    return EngineWork(
        name=model.name,
        sha256=model.sha256,
        engine=model.engine,
        precision=model.precision,
        device=model.device,
        places=engine.places,
        max_batch=engine.max_batch,
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        batch_seconds=seconds * engine.max_batch * engine.places,
    )


def _round(engine: Engine, batches: Sequence[Pixels]) -> tuple[float, float]:
    """Wall and CPU seconds of an image while every place has a batch: filling and draining them is not counted."""
    turn = cycle(batches)
    running: deque[Future[Candidates]] = deque()
    for _ in range(engine.places):
        running.append(engine.start(next(turn)))

    def next_answer() -> None:
        running.popleft().result(ANSWER_WITHIN)
        running.append(engine.start(next(turn)))

    try:
        for _ in range(engine.places):
            next_answer()
        begun, cpu = time.perf_counter(), time.process_time()
        answers, spent = 0, 0.0
        while answers < 4 * engine.places or spent < ENGINE_SECONDS:
            for _ in range(engine.places):  # whole waves: places that keep step answer together
                next_answer()
            answers, spent = answers + engine.places, time.perf_counter() - begun
        images = answers * engine.max_batch
        cpu_spent = time.process_time() - cpu
        while running:
            running.popleft().result(ANSWER_WITHIN)
    except TimeoutError as error:
        raise EngineBroken(f"the engine has not answered a batch for {ANSWER_WITHIN:g} s") from error
    return spent / images, cpu_spent / images


def _full_batch(engine: Engine, one: _Seen) -> Pixels:
    batch = np.empty((engine.max_batch, *one.shape, 3), np.uint8)
    for slot in batch:
        size = engine.model.image_size
        letterbox(one.decoded.pixels, slot, image_size=size, image=(one.decoded.height, one.decoded.width))
    return batch


def _machine() -> str:
    models = [
        line.partition(":")[2].strip() for line in read(Path("/proc/cpuinfo")).splitlines() if "model name" in line
    ]
    return models[0] if models else platform.processor() or platform.machine()


def _mean(sizes: Sequence[int]) -> int:
    return max(1, round(statistics.mean(sizes)))
