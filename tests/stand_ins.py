"""Engines without a model, for tests of what surrounds one: `model.engine: tests.stand_ins:null_engine`.

They come through the public door, so a process that uses them must find this package (PYTHONPATH, the root).
Each answers an image with one box made from a checksum of its pixels: an answer that reached the wrong job shows.
`STAND_IN_PLACES` (2), `STAND_IN_MAX_BATCH` (batching.max_batch) and `STAND_IN_IMAGE_SIZE` (64) are their settings.
An image is a *bad* one for them when the pixel in its middle is red.
"""

import ctypes
import os
import signal
import threading
import zlib
from concurrent.futures import Future
from pathlib import Path

import numpy as np

from consumer.detection.engine import Candidates, Model, Pixels
from consumer.errors import EngineBroken, OutOfDeviceMemory
from consumer.settings import BatchingSettings, ModelSettings

CLASS_NAMES = tuple("abcdefgh")


class NullEngine:
    """Answers at once, in the caller's thread."""

    def __init__(self, model: ModelSettings, batching: BatchingSettings) -> None:
        side = model.image_size or int(os.environ.get("STAND_IN_IMAGE_SIZE", "64"))
        self.places = int(os.environ.get("STAND_IN_PLACES", "2"))
        self.max_batch = int(os.environ.get("STAND_IN_MAX_BATCH", batching.max_batch))
        self.model = Model(
            name=type(self).__name__,
            sha256="0" * 64,
            task="detect",
            class_names=CLASS_NAMES,
            stride=32,
            image_size=(side, side),
            static_batch=None,
            nms_free=True,
            engine="stand-in",
            precision="f32",
            device="cpu",
        )

    def start(self, images: Pixels) -> Future[Candidates]:
        future: Future[Candidates] = Future()
        future.set_result(np.stack([candidates_of(image) for image in images]))
        return future

    def close(self) -> None:
        pass


def candidates_of(image: Pixels) -> Candidates:
    """What every stand-in answers: float32 [1, 6] from uint8 [h, w, 3], sure of its class, at least 8 pixels a side."""
    height, width = image.shape[:2]
    checksum = zlib.crc32(image.tobytes())
    left, top, right, bottom = (checksum >> shift & 0xFF for shift in (0, 8, 16, 24))
    middle = np.array([width, height, width, height], np.float32) / 2
    reach = 4 + (middle - 4) * np.array([left, top, right, bottom], np.float32) / 255
    box = middle + reach * np.array([-1, -1, 1, 1], np.float32)
    return np.array([[*box, 0.5 + left / 512, checksum % len(CLASS_NAMES)]], np.float32)


def is_bad(image: Pixels) -> bool:
    """Whether the middle of uint8 [h, w, 3] BGR is red, as far as a JPEG keeps it."""
    blue, green, red = image[image.shape[0] // 2, image.shape[1] // 2]
    return bool(red > 192 and green < 64 and blue < 64)


class FailingEngine(NullEngine):
    """Fails every batch with a bad image in it."""

    def start(self, images: Pixels) -> Future[Candidates]:
        if not any(is_bad(image) for image in images):
            return super().start(images)
        future: Future[Candidates] = Future()
        future.set_exception(RuntimeError("the stand-in cannot bear a red image"))
        return future


class BrokenEngine(NullEngine):
    """Fails every batch."""

    def start(self, images: Pixels) -> Future[Candidates]:
        raise RuntimeError("the stand-in is broken")


class HangingEngine(NullEngine):
    """Never answers a batch with a bad image in it, and then cannot be closed either."""

    hangs = False

    def start(self, images: Pixels) -> Future[Candidates]:
        if not any(is_bad(image) for image in images):
            return super().start(images)
        self.hangs = True
        return Future()

    def close(self) -> None:
        while self.hangs:
            threading.Event().wait()


class SickEngine(NullEngine):
    """Answers rightly at its start; then its device loses its mind: `STAND_IN_WRONG` (all) batches are answered with
    zeros."""

    def __init__(self, model: ModelSettings, batching: BatchingSettings) -> None:
        super().__init__(model, batching)
        self.wrong = float(os.environ.get("STAND_IN_WRONG", "inf"))
        self.is_warm = False

    def start(self, images: Pixels) -> Future[Candidates]:
        if not self.is_warm or self.wrong <= 0:
            self.is_warm = True
            return super().start(images)
        self.wrong -= 1
        future: Future[Candidates] = Future()
        future.set_result(np.zeros((len(images), 1, 6), np.float32))
        return future


class LostEngine(NullEngine):
    """Loses its device at a bad image, as torch's engine says it."""

    def start(self, images: Pixels) -> Future[Candidates]:
        if not any(is_bad(image) for image in images):
            return super().start(images)
        future: Future[Candidates] = Future()
        future.set_exception(EngineBroken("cuda:0 is lost to this process: CUDA error: device-side assert triggered"))
        return future


class DeadlyEngine(NullEngine):
    """Ends the process at a bad image, in one of the ways of native code: `STAND_IN_DEATH` is kill (default), segfault,
    abort, hog (takes all memory that there is; `STAND_IN_CGROUP` names the cgroup to do that in) or hang."""

    def start(self, images: Pixels) -> Future[Candidates]:
        if not any(is_bad(image) for image in images):
            return super().start(images)
        match os.environ.get("STAND_IN_DEATH", "kill"):
            case "segfault":
                ctypes.string_at(0)
            case "abort":
                os.abort()
            case "hog":
                Path(os.environ["STAND_IN_CGROUP"]).write_text("0")
                hoard = [bytes(16 * 2**20)]
                while True:
                    hoard.append(bytes(bytearray(b"x") * (16 * 2**20)))
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
        return Future()  # what hangs never answers


class SmallEngine(NullEngine):
    """Has memory for `STAND_IN_FITS` (2) images at once."""

    def start(self, images: Pixels) -> Future[Candidates]:
        fits = int(os.environ.get("STAND_IN_FITS", "2"))
        if len(images) > fits:
            raise OutOfDeviceMemory(f"{len(images)} images, memory for {fits}")
        return super().start(images)


null_engine = NullEngine
failing_engine = FailingEngine
broken_engine = BrokenEngine
hanging_engine = HangingEngine
sick_engine = SickEngine
lost_engine = LostEngine
deadly_engine = DeadlyEngine
small_engine = SmallEngine
