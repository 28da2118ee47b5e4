"""Engines without a model: what does the pipeline cost alone, and how does it grow with its replicas?

They come through the public door: `model.engine: benchmarks.engines:null_engine`.
"""

import time
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from consumer.cores import available_cores
from consumer.detection.engine import Candidates, Model, Pixels
from consumer.settings import BatchingSettings, ModelSettings

WAITING_SECONDS = 0.04
ANSWER = np.array([[100.0, 100.0, 200.0, 200.0, 0.5, 0.0]], np.float32)


class NullEngine:
    """Answers at once, in the caller's thread: what is left is the pipeline."""

    def __init__(self, model: ModelSettings, _: BatchingSettings) -> None:
        side = model.image_size or 640
        self.places = available_cores()
        self.max_batch = 1
        self.model = Model(
            name=type(self).__name__,
            sha256="0" * 64,
            task="detect",
            class_names=("none",),
            stride=32,
            image_size=(side, side),
            static_batch=None,
            nms_free=True,
            engine="benchmark",
            precision="f32",
            device="cpu",
        )

    def start(self, images: Pixels) -> Future[Candidates]:
        future: Future[Candidates] = Future()
        future.set_result(np.stack([ANSWER] * len(images)))
        return future

    def close(self) -> None:
        pass


class WaitingEngine(NullEngine):
    """As busy as a device of its own would be, and takes nothing of this machine: `WAITING_SECONDS` an image."""

    def __init__(self, model: ModelSettings, batching: BatchingSettings) -> None:
        super().__init__(model, batching)
        self.places = 1
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="waiting")

    def start(self, images: Pixels) -> Future[Candidates]:
        return self._pool.submit(self._answer, len(images))

    def _answer(self, count: int) -> Candidates:
        time.sleep(WAITING_SECONDS * count)
        return np.stack([ANSWER] * count)

    def close(self) -> None:
        self._pool.shutdown()


null_engine = NullEngine
waiting_engine = WaitingEngine
