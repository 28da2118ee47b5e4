"""What stands between a job and its outcome? The engine, the batcher and the inspector, opened and closed together."""

import contextlib
import threading
from collections.abc import Iterator

import numpy as np

from consumer.batcher import Batcher
from consumer.canary import Apart, Bucket, Canary
from consumer.cores import available_cores
from consumer.detection.engine import Candidates, Engine, Pixels
from consumer.detection.loading import load as load_engine
from consumer.images.availability import Availability
from consumer.inspector import Images, Inspector, Observe
from consumer.metrics import Metrics
from consumer.settings import BatchingSettings, Settings


@contextlib.contextmanager
def open_inspector(
    settings: Settings,
    *,
    images: Images,
    availability: Availability,
    metrics: Metrics,
    closing: threading.Event,
    observe: Observe | None = None,
) -> Iterator[Inspector]:
    """A warm inspector for as long as the `with` lasts. Raises SettingsError for what the engine cannot run.

    Raises EngineBroken if it does not answer the canary. Leaving it abandons the jobs that wait for the engine, and an
    engine that hangs. `closing` says that jobs are given up: waits become short.
    """
    engine = load_engine(settings.model, settings.batching)
    with _closed_if_it_answers(engine, _batcher(engine, settings.batching, metrics)) as batcher, batcher:
        yield Inspector(
            settings,
            engine.model,
            images=images,
            availability=availability,
            batcher=batcher,
            canary=Canary(batcher, engine.model, deadline=settings.limits.job_deadline),
            metrics=metrics,
            decode_places=available_cores(),
            closing=closing,
            observe=observe,
        )


@contextlib.contextmanager
def _closed_if_it_answers(
    engine: Engine, batcher: Batcher[Bucket, Candidates]
) -> Iterator[Batcher[Bucket, Candidates]]:
    """To close an engine that hangs would hang too, and its process is to end."""
    try:
        yield batcher
    finally:
        if not batcher.is_running:
            engine.close()


def _batcher(engine: Engine, batching: BatchingSettings, metrics: Metrics) -> Batcher[Bucket, Candidates]:
    slabs = 2 * engine.places + 2
    height, width = engine.model.image_size  # no rectangular shape is larger
    memory = np.empty((slabs, engine.max_batch * height * width * 3), np.uint8)

    def storage(slab: int, bucket: Bucket) -> Pixels:
        height, width = bucket[:2]
        size = engine.max_batch * height * width * 3
        return memory[slab, :size].reshape(engine.max_batch, height, width, 3)

    def observe(bucket: Bucket, size: int) -> None:
        if not isinstance(bucket, Apart):  # it is no job
            metrics.batch_size.labels(f"{bucket[0]}x{bucket[1]}").observe(size)

    return Batcher(
        engine.start,
        storage,
        places=engine.places,
        slabs=slabs,
        max_batch=engine.max_batch,
        max_wait=batching.max_wait,
        on_start=observe,
    )
