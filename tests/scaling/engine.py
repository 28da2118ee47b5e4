"""Which engine makes replicas scale on two cores? One that takes its time without computing: a stand-in of a device."""

import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from consumer.detection.engine import Candidates, Pixels
from consumer.settings import BatchingSettings, ModelSettings
from tests.stand_ins import NullEngine


class SleepingEngine(NullEngine):
    """Holds each image in one of its `STAND_IN_PLACES` for `STAND_IN_SECONDS`."""

    def __init__(self, model: ModelSettings, batching: BatchingSettings) -> None:
        super().__init__(model, batching)
        self.max_batch = 1
        self.model = replace(self.model, device="stand-in")
        self._seconds = float(os.environ.get("STAND_IN_SECONDS", "0.1"))
        self._pool = ThreadPoolExecutor(self.places, thread_name_prefix="sleeping")

    def start(self, images: Pixels) -> Future[Candidates]:
        return self._pool.submit(self._answer, images)

    def close(self) -> None:
        self._pool.shutdown()

    def _answer(self, images: Pixels) -> Candidates:
        time.sleep(self._seconds)
        return super().start(images).result()


sleeping_engine = SleepingEngine
