"""What does the camera of a production line see, and which defects are truly there?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from consumer.demo.defects import Box, ClassName, Flaw, draw_flaw, plan_flaws
from consumer.demo.shapes import Placement, Points, Shape, draw_shape, is_free, place_shape
from consumer.demo.texture import belt, coloured, marking, surface

Image = NDArray[np.uint8]
Canvas = NDArray[np.float32]

_WHITE = np.ones(3, np.float32)

# (width, height) and how often a camera of that kind appears.
_SIZES = (((640, 480), 0.62), ((1280, 720), 0.1), ((1920, 1080), 0.04), ((480, 640), 0.1), ((640, 640), 0.14))


@dataclass(frozen=True)
class Defect:
    """One defect: `box` is xyxy in pixels of the part's image, right and bottom exclusive."""

    class_name: ClassName
    box: Box


@dataclass(frozen=True)
class Part:
    """A photographed part: `image` is (H, W, 3) uint8 BGR, `defects` is the whole truth about it."""

    image: Image
    defects: tuple[Defect, ...]


def render_part(seed: int, index: int, *, size: tuple[int, int] | None = None) -> Part:
    """Render part number `index` of the line `seed`; the same two numbers give the same pixels and boxes. `size`
    (width, height) is in place of the camera's own."""
    scene = _Scene.plan(seed, index, size)
    return scene.shoot(scene.flaws)


def render_flawless(seed: int, index: int) -> Part:
    """Render the same part in the same light, as it would look without its defects."""
    return _Scene.plan(seed, index).shoot(())


def encode(part: Part, image_format: Literal["jpg", "png"]) -> bytes:
    """Encode the part's image as a camera would send it: JPEG of quality 92, or PNG."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 92] if image_format == "jpg" else []
    return cv2.imencode(f".{image_format}", part.image, options)[1].tobytes()


@dataclass(frozen=True)
class _Scene:
    """All that is settled before a pixel is drawn; the flaws draw from a stream of their own."""

    size: tuple[int, int]
    shape: Shape
    placement: Placement
    light: Points
    flaws: tuple[Flaw, ...]
    seed: tuple[int, int]

    @staticmethod
    def plan(seed: int, index: int, wanted: tuple[int, int] | None = None) -> _Scene:
        random = np.random.default_rng([seed, index, 0])
        own = _SIZES[int(random.choice(len(_SIZES), p=[share for _, share in _SIZES]))][0]
        size = wanted or own
        shape = draw_shape(random)
        placement = place_shape(shape, size, random)
        direction = random.uniform(0, 2 * np.pi)
        light = np.array([np.cos(direction), np.sin(direction)], np.float32)
        return _Scene(size, shape, placement, light, plan_flaws(shape, random), (seed, index))

    def shoot(self, flaws: tuple[Flaw, ...]) -> Part:
        random = np.random.default_rng([*self.seed, 1])
        undrilled = [flaw.at for flaw in flaws if flaw.class_name == "missing_hole"]
        canvas = self._lay_part(undrilled, random)
        boxes = [draw_flaw(canvas, flaw, self.placement, self.light) for flaw in flaws]
        image = _photograph(canvas, self.light, random)
        return Part(image, tuple(Defect(flaw.class_name, box) for flaw, box in zip(flaws, boxes, strict=True)))

    def _lay_part(self, undrilled: list[Points], random: np.random.Generator) -> Canvas:
        ground, material = belt(random, self.size), surface(random, self.size, self.placement)
        number = self._part_number(random)
        solid = self._mask(undrilled)
        softness = self.placement.unit * 0.012
        offset = -self.light * self.placement.unit * 0.03
        shift = np.array([[1, 0, offset[0]], [0, 1, offset[1]]])
        shadow = cv2.warpAffine(cv2.GaussianBlur(solid, (0, 0), softness), shift, self.size)
        bevel = self._bevel(solid) + number
        ground *= coloured(1 - 0.65 * shadow, _WHITE)
        part = material
        part *= coloured(1 + bevel, _WHITE)
        part -= ground
        part *= coloured(solid, _WHITE)
        part += ground
        return part

    def _part_number(self, random: np.random.Generator) -> Canvas:
        darkness = float(random.uniform(0.25, 0.5))
        at = random.uniform(-0.2, 0.2, 2).astype(np.float32)
        mask = marking(random, self.size, self.placement, at)
        taken = not is_free(self.shape, at, 0.09)
        clear = all(float(np.hypot(*(flaw.at - at))) > flaw.radius + 0.1 for flaw in self.flaws)
        return mask * np.float32(0 if taken or not clear else -darkness)

    def _mask(self, undrilled: list[Points]) -> Canvas:
        mask = np.zeros(self.size[::-1], np.uint8)
        outline = np.round(self.placement.to_image(self.shape.outline) * 16).astype(np.int32)
        cv2.fillPoly(mask, [outline], (255,), cv2.LINE_AA, 4)
        drilled = [hole for hole in self.shape.holes if not any(np.array_equal(hole, other) for other in undrilled)]
        for centre in self.placement.to_image(np.array(drilled, np.float32).reshape(-1, 2)):
            _cut(mask, centre, self.shape.hole_radius * self.placement.unit)
        if self.shape.bore:
            _cut(mask, np.array(self.placement.centre, np.float32), self.shape.bore * self.placement.unit)
        return np.asarray(mask / np.float32(255), np.float32)

    def _bevel(self, solid: Canvas) -> Canvas:
        """Brighten the edges that face the lamp and darken the others: the slope of the softened mask."""
        soft = cv2.GaussianBlur(solid, (0, 0), self.placement.unit * 0.006)
        slope = cv2.Sobel(soft, cv2.CV_32F, 1, 0) * -self.light[0] + cv2.Sobel(soft, cv2.CV_32F, 0, 1) * -self.light[1]
        return np.asarray(np.clip(slope * (self.placement.unit * 0.0012), -0.6, 0.6), np.float32)


def _cut(mask: Image, centre: Points, radius: float) -> None:
    at = (round(float(centre[0]) * 16), round(float(centre[1]) * 16))
    cv2.circle(mask, at, round(radius * 16), (0,), -1, cv2.LINE_AA, 4)


def _photograph(canvas: Canvas, light: Points, random: np.random.Generator) -> Image:
    """Expose the scene: a lamp from one side, white balance, a lens that is never quite sharp, sensor noise."""
    height, width = canvas.shape[:2]
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :] * light[0]
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * light[1]
    exposure, fall = float(random.uniform(0.8, 1.25)), float(random.uniform(0.05, 0.3))
    balance = random.uniform(0.94, 1.06, 3).astype(np.float32)
    lit = canvas * coloured((exposure * (1 + fall * (across + down))).astype(np.float32), _WHITE)
    lit *= coloured(np.ones((height, width), np.float32), balance)
    seen = np.asarray(
        cv2.GaussianBlur(lit, (0, 0), float(random.uniform(0.3, 1.1)) * min(height, width) / 480), np.float32
    )
    grain = random.standard_normal((height, width, 1), dtype=np.float32) * float(random.uniform(0.004, 0.025))
    seen += coloured(grain[..., 0], _WHITE)
    np.clip(seen, 0, 1, out=seen)
    seen *= 255
    seen += 0.5
    return seen.astype(np.uint8)
