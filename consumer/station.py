"""What stands between a job and its outcome? The engine, the batcher and the inspector, opened and closed together."""

import contextlib
import threading
from collections.abc import Iterator

import numpy as np

from consumer.batcher import Batcher
from consumer.cores import available_cores
from consumer.detection.engine import Candidates, Engine, Pixels, Shape
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

    Leaving it abandons the jobs that wait for the engine. `closing` says that jobs are given up: waits become short.
    """
    with (
        contextlib.closing(load_engine(settings.model, settings.batching)) as engine,
        _batcher(engine, settings.batching, metrics) as batcher,
    ):
        yield Inspector(
            settings,
            engine.model,
            images=images,
            availability=availability,
            batcher=batcher,
            metrics=metrics,
            decode_places=available_cores(),
            closing=closing,
            observe=observe,
        )


def _batcher(engine: Engine, batching: BatchingSettings, metrics: Metrics) -> Batcher[Shape, Candidates]:
    slabs = 2 * engine.places + 2
    height, width = engine.model.image_size  # no rectangular shape is larger
    memory = np.empty((slabs, engine.max_batch * height * width * 3), np.uint8)

    def storage(slab: int, shape: Shape) -> Pixels:
        size = engine.max_batch * shape[0] * shape[1] * 3
        return memory[slab, :size].reshape(engine.max_batch, *shape, 3)

    return Batcher(
        engine.start,
        storage,
        places=engine.places,
        slabs=slabs,
        max_batch=engine.max_batch,
        max_wait=batching.max_wait,
        on_start=lambda shape, size: metrics.batch_size.labels(f"{shape[0]}x{shape[1]}").observe(size),
    )
