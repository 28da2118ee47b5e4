"""How do two inspections of one image look side by side?"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from consumer.audit.diff import Example
from consumer.auditing.inspected import Images, inspected_bytes
from consumer.errors import Rejected, SettingsError, Unavailable
from consumer.images.decode import Pixels, decode
from consumer.images.drawing import drawn, encoded
from consumer.images.pictures import Pictures
from consumer.settings import ImageSettings

_GUTTER = 8  # pixels of white between the two


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
            pixels = decode(inspected_bytes(images, example.image, example.sha256), limits).pixels
        except (Rejected, Unavailable) as error:
            warn(f"no picture of {example.job_id}: {error}")
            continue
        yield pictures.write(example.image, encoded(side_by_side(pixels, example), pictures.suffix))


def side_by_side(pixels: Pixels, example: Example) -> Pixels:
    """uint8 [height, 2 · width + 8, 3] BGR from the image's own [h, w, 3], which stays as it is."""
    left, right = drawn(pixels, example.base), drawn(pixels, example.candidate)
    gutter = np.full((left.shape[0], _GUTTER, 3), 255, np.uint8)
    return np.concatenate([left, gutter, right], axis=1)
