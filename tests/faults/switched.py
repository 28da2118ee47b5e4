"""Which engine fails when it is told to, from outside of its process?

`model.engine: tests.faults.switched:switched_engine`. It does what is written in the file that is named after its
process id, in the folder `STAND_IN_SWITCHES`: `raise`, `hang`, `memory` (none for more than two images), or nothing.
It fails every batch with a red image in it: these jobs become dead letters, in the quietest cell too.
"""

import os
from concurrent.futures import Future
from pathlib import Path

from consumer.detection.engine import Candidates, Pixels
from consumer.errors import OutOfDeviceMemory
from consumer.settings import BatchingSettings, ModelSettings
from tests.stand_ins import FailingEngine

FOLDER = "STAND_IN_SWITCHES"


class SwitchedEngine(FailingEngine):
    """Sound as long as its file does not exist."""

    def __init__(self, model: ModelSettings, batching: BatchingSettings) -> None:
        super().__init__(model, batching)
        self._switch = Path(os.environ[FOLDER]) / str(os.getpid())

    def start(self, images: Pixels) -> Future[Candidates]:
        match self._told():
            case "raise":
                raise RuntimeError("the stand-in was told to fail")
            case "hang":
                return Future()
            case "memory" if len(images) > 2:
                raise OutOfDeviceMemory(f"{len(images)} images, memory for 2")
        return super().start(images)

    def _told(self) -> str:
        try:
            return self._switch.read_text()
        except FileNotFoundError:
            return ""


switched_engine = SwitchedEngine
