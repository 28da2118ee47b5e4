"""Which images is a model weighed on, and what does it find in them?"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from consumer.demo.parts import render_part
from consumer.detection.engine import Candidates, Engine, Pixels, Shape
from consumer.detection.selection import select
from consumer.errors import Rejected, SettingsError
from consumer.images.decode import decode
from consumer.images.letterbox import Placement, letterbox, shape_of
from consumer.images.named import NamedImages
from consumer.messages import ImageReference, Parameters
from consumer.settings import Settings

PATIENCE = 10.0  # seconds for one object of a store
_LINE = 8  # of the demo's production lines, one that nothing was trained on


@dataclass(frozen=True)
class Samples:
    """Images that a person named, each decoded when it is come to; one that cannot be is left out and noted."""

    sources: NamedImages
    references: Sequence[ImageReference]
    settings: Settings
    left_out: dict[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Pixels]:
        for reference in self.references:
            try:
                fetched = self.sources.fetch(reference, reserve=lambda _: None, timeout=PATIENCE)
                yield decode(fetched.content, self.settings.images).pixels
            except Rejected as rejection:
                self.left_out[reference.uri] = str(rejection)


def named(names: Iterable[str], settings: Settings, *, most: int) -> Samples:
    """The first images of the names, `most` at the most. Raises SettingsError where there is none, Unavailable."""
    sources = NamedImages(settings.s3, settings.images)
    references = tuple(islice(sources.references(names), most))
    samples = Samples(sources, references, settings)
    if next(iter(samples), None) is None:
        raise SettingsError(f"--images: {next(iter(samples.left_out.values()), 'none is named')}")
    return samples


def rendered(count: int) -> list[Pixels]:
    """Parts of the demo's production line."""
    return [render_part(_LINE, index).image for index in range(count)]


@dataclass(frozen=True, slots=True)
class Slot:
    """One image as an engine takes it: uint8 [1, height, width, 3], and where it lies."""

    pixels: Pixels
    placement: Placement


def slots_of(images: Iterable[Pixels], *, image_size: Shape, stride: int, rectangular: bool) -> Iterator[Slot]:
    """Letterbox images, uint8 [h, w, 3] BGR, as a job's way does."""
    for pixels in images:
        height, width = pixels.shape[:2]
        shape = shape_of(width, height, image_size=image_size, stride=stride, rectangular=rectangular)
        slot = np.empty((1, *shape, 3), np.uint8)
        yield Slot(slot, letterbox(pixels, slot[0], image_size=image_size))


def found_by(engine: Engine, slots: Iterable[Slot], parameters: Parameters) -> list[Candidates]:
    """The detections of each image: float32 [m, 6], x1, y1, x2, y2 in its own pixels, confidence, class id."""
    found = []
    for slot in slots:
        (candidates,) = engine.start(slot.pixels).result()
        kept = select(candidates, parameters, nms_free=engine.model.nms_free)
        found.append(np.hstack([slot.placement.to_image(kept[:, :4]), kept[:, 4:]]))
    return found


def batches_of(slots: Iterable[Slot], most: int) -> list[Pixels]:
    """Slots of one shape together, at most so many: uint8 [n, height, width, 3] each."""
    by_shape: dict[tuple[int, ...], list[Pixels]] = {}
    for slot in slots:
        by_shape.setdefault(slot.pixels.shape, []).append(slot.pixels)
    return [
        np.concatenate(members[at : at + most]) for members in by_shape.values() for at in range(0, len(members), most)
    ]
