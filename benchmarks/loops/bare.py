"""How fast are the parts alone: the engine on preloaded inputs, decoding, fetching? Prints one line of JSON."""

import json
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks.loops.control import open_engine, slot_of
from benchmarks.loops.task import Task
from consumer.images.decode import decode
from consumer.images.letterbox import letterbox
from consumer.images.store import ImageStore
from consumer.messages import ImageReference
from consumer.settings import ImageSettings, S3Settings

WARM_UP = 0.15  # of the time, which is not counted
FETCHES = 32  # at once


def engine(task: Task) -> Callable[[float], int]:
    """All places are kept full: one batch waits for each that runs."""
    runner = open_engine(task)
    size = runner.model.image_size
    slots = []
    for path in _paths(task):
        pixels = decode(path.read_bytes(), _limits(task)).pixels
        slot = slot_of(pixels, runner, rect=task.rect)
        letterbox(pixels, slot[0], image_size=size)
        slots.append(slot)
    inputs = cycle(slots)
    running: deque[Future[Any]] = deque(runner.start(next(inputs)) for _ in range(2 * runner.places))

    def run(seconds: float) -> int:
        end, count = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            running.popleft().result()
            running.append(runner.start(next(inputs)))
            count += 1
        return count

    return run


def decoding(task: Task) -> Callable[[float], int]:
    """One thread a core, as the consumer decodes."""
    limits, contents = _limits(task), [path.read_bytes() for path in _paths(task)]
    size = task.image_size, task.image_size
    return _in_threads(task.threads, lambda number: decode(contents[number % len(contents)], limits, image_size=size))


def fetching(task: Task) -> Callable[[float], int]:
    """With the consumer's own store; S3's keys are the names of the files."""
    store = ImageStore(S3Settings(endpoint_url=task.endpoint_url), _limits(task))
    keys = [f"{path.parent.name}/{path.name}" for path in _paths(task)]

    def fetch(number: int) -> None:
        reference = ImageReference(task.bucket, keys[number % len(keys)])
        store.fetch(reference, reserve=lambda _: None, timeout=30)

    return _in_threads(FETCHES, fetch)


def _in_threads(threads: int, work: Callable[[int], object]) -> Callable[[float], int]:
    pool = ThreadPoolExecutor(threads)

    def until(end: float, number: int) -> int:
        count = 0
        while time.monotonic() < end:
            work(number + count)
            count += 1
        return count

    def run(seconds: float) -> int:
        end = time.monotonic() + seconds
        return sum(pool.map(lambda number: until(end, number), range(threads)))

    return run


def _limits(task: Task) -> ImageSettings:
    return ImageSettings.model_validate({"allowed_buckets": ("*",), "decode": task.decode})


def _paths(task: Task) -> list[Path]:
    return sorted(path for path in Path(task.images).iterdir() if path.suffix in {".jpg", ".png"})


PARTS = {"engine": engine, "decode": decoding, "fetch": fetching}


def main() -> None:
    task = Task.of_environment()
    run = PARTS[sys.argv[1]](task)
    began = time.monotonic()
    run(task.seconds * WARM_UP)
    warm, cpu = time.monotonic(), time.process_time()
    count = run(task.seconds)
    end, spent = time.monotonic(), time.process_time() - cpu
    found = {"images": count, "seconds": end - warm, "cpu": spent, "warm": warm - began}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
