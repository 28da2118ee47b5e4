"""How do two inspections of one image look side by side?"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from consumer.audit.diff import Example
from consumer.errors import Rejected, SettingsError, Unavailable
from consumer.images.decode import Pixels, decode
from consumer.images.drawing import drawn, encoded
from consumer.images.pictures import Pictures
from consumer.images.store import FetchedImage
from consumer.messages import ImageReference
from consumer.settings import ImageSettings

TIMEOUT = 20.0
_GUTTER = 8  # pixels of white between the two


class Images(Protocol):
    """Where the bytes come from: `ImageStore`, or `LocalFiles`."""

    def fetch(self, image: ImageReference, *, reserve: Callable[[int], None], timeout: float) -> FetchedImage: ...


def draw_examples(
    examples: Iterable[Example], images: Images, limits: ImageSettings, folder: Path, *, warn: Callable[[str], None]
) -> Iterator[Path]:
    """A picture of each into the folder, the base left and the candidate right, and its path. An image that cannot be
    had any more, or not those bytes of it, is told through `warn`. Raises SettingsError or CheckFailed where nothing
    can be written."""
    pictures = Pictures(folder)
    if pictures.is_one:
        raise SettingsError(f"{folder}: several pictures need a folder")
    for example in examples:
        try:
            pixels = _inspected(example, images, limits)
        except (Rejected, Unavailable) as error:
            warn(f"no picture of {example.job_id}: {error}")
            continue
        yield pictures.write(example.image, encoded(side_by_side(pixels, example), pictures.suffix))


def _inspected(example: Example, images: Images, limits: ImageSettings) -> Pixels:
    found = images.fetch(example.image, reserve=lambda _: None, timeout=TIMEOUT)
    if found.sha256 != example.sha256:
        raise Rejected("image_changed", f"image {example.image.uri} has other bytes now", stage="fetch")
    return decode(found.content, limits).pixels


def side_by_side(pixels: Pixels, example: Example) -> Pixels:
    """uint8 [height, 2 · width + 8, 3] BGR from the image's own [h, w, 3], which stays as it is."""
    left, right = drawn(pixels, example.base), drawn(pixels, example.candidate)
    gutter = np.full((left.shape[0], _GUTTER, 3), 255, np.uint8)
    return np.concatenate([left, gutter, right], axis=1)
