"""What runs a model: the one Protocol between batches of pixels and boxes.

Anyone's engine can be used: `model.engine: package.module:factory` names a callable
`factory(model: ModelSettings, batching: BatchingSettings) -> Engine`.
"""

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Candidates = NDArray[np.float32]
Shape = tuple[int, int]  # height, width


@dataclass(frozen=True, slots=True)
class Model:
    """What loaded weights say of themselves, and how they are run.

    `image_size` is (height, width) of the square (or static) input in pixels; `static_batch` is None for weights of
    any batch and shape, else the file's one batch size: such weights run at `image_size` alone.
    `nms_free` says that candidates need no non-maximum suppression. `precision` is what the engine really computes
    in (f32, f16, bf16, int8), read back from it.
    """

    name: str
    sha256: str
    task: str
    class_names: tuple[str, ...]
    stride: int
    image_size: Shape
    static_batch: int | None
    nms_free: bool
    engine: str
    precision: str
    device: str


class Engine(Protocol):
    """Runs batches. It is warm when it is handed over, and `start` is called from one thread alone."""

    model: Model
    places: int
    """How many batches may run at once."""
    max_batch: int
    """The largest batch worth giving it, `batching.max_batch` or less."""

    def start(self, images: Pixels) -> Future[Candidates]:
        """Start one batch and return at once.

        images: uint8 [n, height, width, 3], BGR, letterboxed, n <= max_batch, height and width multiples of the
        stride; it stays untouched until the future is done. The answer: float32 [n, k, 6], a row a candidate in any
        order: x1, y1, x2, y2 in pixels of the letterboxed image, confidence in [0, 1] of its best class, class id.
        It must not be a view of memory that a later batch overwrites. Dense heads give one row per anchor.

        Errors, raised here or set on the future: `OutOfDeviceMemory` (a smaller batch may fit), `EngineBroken` (the
        device is lost to this process, which ends with 5), anything else counts against the batch, which is halved
        until the one image at fault is found.
        """

    def close(self) -> None:
        """Give the device back; no batch is running any more. Not called of an engine that still holds a batch."""
