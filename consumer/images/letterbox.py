"""Where does an image lie in the model's input, and where do the model's boxes lie in the image?"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Boxes = NDArray[np.float32]
Shape = tuple[int, int]  # height, width

PADDING = 114


@dataclass(frozen=True, slots=True)
class Placement:
    """One image inside one slot. Sizes are (height, width)."""

    image: Shape
    slot: Shape

    def to_image(self, boxes: Boxes) -> Boxes:
        """Map boxes of the slot to the image: float32 [n, 4] x1, y1, x2, y2 in pixels, clipped to the image.

        The arithmetic is that of `ultralytics.utils.ops.scale_boxes`, which derives the scale from both shapes anew;
        where `letterbox` rounded the other way, it is off by up to one pixel of the slot, and so is this. In a
        rectangular slot that the image fills it is so by up to long / (4 * short) pixels more along the longer side:
        2.5 in one of 640x64.
        """
        (height, width), (slot_height, slot_width) = self.image, self.slot
        inner_height, inner_width = _fit(self.image, self.slot)
        left, top = (slot_width - inner_width) // 2, (slot_height - inner_height) // 2
        gain = np.array([inner_width / width, inner_height / height] * 2, np.float32)
        moved = (boxes - np.array([left, top] * 2, np.float32)) / gain
        return moved.clip(0, np.array([width, height] * 2, np.float32))


def shape_of(width: int, height: int, *, image_size: Shape, stride: int, rectangular: bool) -> Shape:
    """The slot (height, width) for an image of this size, which depends on nothing else.

    `image_size` itself; or, rectangular, the least multiple of `stride` on the shorter side, as Ultralytics'
    `LetterBox(auto=True)` pads.
    """
    if not rectangular:
        return image_size
    inner = _fit((height, width), image_size)
    slot_height, slot_width = (side + (whole - side) % stride for side, whole in zip(inner, image_size, strict=True))
    return slot_height, slot_width


def letterbox(pixels: Pixels, into: Pixels, *, image_size: Shape, image: Shape | None = None) -> Placement:
    """Scale an image into a slot, centred, with gray around it, pixel by pixel as Ultralytics' `LetterBox` does.

    pixels: uint8 [h, w, 3]; into: uint8 [H, W, 3] of `shape_of`'s shape, any strides between rows, wholly written;
    both in the same colour order. `image_size` is the one given to `shape_of`: it rules the scale. `image` is the size
    (height, width) of the whole image where `pixels` were decoded smaller: it lies where the whole one would.
    """
    image = image or (pixels.shape[0], pixels.shape[1])
    slot: Shape = (into.shape[0], into.shape[1])
    height, width = _fit(image, image_size)
    top, left = (slot[0] - height) // 2, (slot[1] - width) // 2
    into[:top] = PADDING
    into[top + height :] = PADDING
    inner = into[top : top + height]
    inner[:, :left] = PADDING
    inner[:, left + width :] = PADDING
    place = inner[:, left : left + width]
    cv2.resize(pixels, (width, height), dst=place, interpolation=cv2.INTER_LINEAR)
    return Placement(image, slot)


def reduction(width: int, height: int, *, image_size: Shape) -> int:
    """By how much an image may be decoded smaller and still have a pixel for each one of its place: 1, 2, 4 or 8."""
    needed = _fit((height, width), image_size)
    return next(by for by in (8, 4, 2, 1) if by == 1 or (height // by >= needed[0] and width // by >= needed[1]))


def _fit(image: Shape, whole: Shape) -> Shape:
    """The image's size when it is scaled to fit, at least one pixel a side."""
    gain = min(whole[0] / image[0], whole[1] / image[1])
    return max(round(image[0] * gain), 1), max(round(image[1] * gain), 1)
