"""Which flaws can a part have, and which pixels does each of them change?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from consumer.demo.shapes import Placement, Points, Shape, is_free

ClassName = Literal["scratch", "dent", "stain", "missing_hole"]
CLASS_NAMES: tuple[ClassName, ...] = get_args(ClassName)

Box = tuple[int, int, int, int]
Canvas = NDArray[np.float32]
Mask = NDArray[np.uint8]

# Sub-pixel digits of OpenCV's polygon drawing: coordinates are given in 1/16 pixel.
_SHIFT = 4


@dataclass(frozen=True)
class Flaw:
    """A flaw before it is drawn: `radius` bounds it around `at`, both in part units; `seed` settles its details."""

    class_name: ClassName
    at: Points
    radius: float
    seed: int


def plan_flaws(shape: Shape, random: np.random.Generator) -> tuple[Flaw, ...]:
    """Pick up to four flaws that overlap neither each other nor the part's holes; about one part in six has none."""
    planned: list[Flaw] = []
    if random.random() < 0.15:
        return ()
    for _ in range(int(random.integers(1, 5))):
        flaw = _plan_flaw(shape, planned, random)
        if flaw is not None:
            planned.append(flaw)
    return tuple(planned)


def draw_flaw(canvas: Canvas, flaw: Flaw, placement: Placement, light: Points) -> Box:
    """Draw a flaw into `canvas` ((H, W, 3) float32 BGR, 0..1) in place and return its box.

    The box is xyxy in the picture's pixels, right and bottom exclusive, tight around what was drawn. `light` is the
    unit vector towards the lamp.
    """
    match flaw.class_name:
        case "scratch":
            mask = _draw_scratch(canvas, flaw, placement, light)
        case "dent":
            mask = _draw_dent(canvas, flaw, placement, light)
        case "stain":
            mask = _draw_stain(canvas, flaw, placement)
        case "missing_hole":
            mask = _draw_missing_hole(canvas, flaw, placement)
        case _:
            assert_never(flaw.class_name)
    left, top, width, height = cv2.boundingRect(mask)
    return left, top, left + width, top + height


def _plan_flaw(shape: Shape, planned: list[Flaw], random: np.random.Generator) -> Flaw | None:
    class_name = CLASS_NAMES[int(random.integers(len(CLASS_NAMES)))]
    seed = int(random.integers(2**31))
    if class_name == "missing_hole":
        at = shape.holes[int(random.integers(len(shape.holes)))]
        flaw = Flaw(class_name, at, shape.hole_radius * 1.25, seed)
        return flaw if _is_apart(flaw, planned) else None
    smallest, largest = {"scratch": (0.08, 0.16), "dent": (0.045, 0.08), "stain": (0.05, 0.1)}[class_name]
    # A narrow part may have no room for a large flaw, so every further try is a little smaller.
    for radius in np.linspace(random.uniform(smallest, largest), smallest, 24):
        at = random.uniform(shape.outline.min(axis=0), shape.outline.max(axis=0)).astype(np.float32)
        flaw = Flaw(class_name, at, float(radius), seed)
        if is_free(shape, at, flaw.radius * 0.95) and _is_apart(flaw, planned):
            return flaw
    return None


def _is_apart(flaw: Flaw, planned: list[Flaw]) -> bool:
    return all(float(np.hypot(*(flaw.at - other.at))) > flaw.radius + other.radius for other in planned)


def _draw_scratch(canvas: Canvas, flaw: Flaw, placement: Placement, light: Points) -> Mask:
    """Two to four strands that run side by side: a bright groove with a dark lip away from the lamp."""
    random = np.random.default_rng(flaw.seed)
    angle, bend = random.uniform(0, np.pi), random.uniform(-0.35, 0.35)
    along = np.linspace(-1, 1, 24)
    groove, lip = _blank(canvas), _blank(canvas)
    thickness = max(1, round(placement.unit * float(random.uniform(0.004, 0.008))))
    strands = int(random.integers(2, 5))
    for offset in np.linspace(-0.24, 0.24, strands) + random.uniform(-0.05, 0.05, strands):
        start, end = random.uniform(-1, -0.6), random.uniform(0.6, 1)
        t = along[(along >= start) & (along <= end)]
        wobble = np.cumsum(random.normal(0, 0.008, len(t)))
        strand = np.stack([t * 0.95, bend * (t**2 - 0.5) + offset + wobble], axis=1) * flaw.radius
        turned = Placement((0.0, 0.0), float(angle), 1.0).to_image(strand.astype(np.float32))
        points = placement.to_image(turned + flaw.at)
        _stroke(lip, points - light * thickness, thickness)
        _stroke(groove, points, thickness)
    depth = float(random.uniform(0.28, 0.45))
    _shift_brightness(canvas, lip, -depth)
    _shift_brightness(canvas, groove, depth)
    return np.maximum(groove, lip)


def _draw_dent(canvas: Canvas, flaw: Flaw, placement: Placement, light: Points) -> Mask:
    """A shallow bowl: dark on the lamp's side, bright on the other."""
    random = np.random.default_rng(flaw.seed)
    mask = _blank(canvas)
    outline = _ellipse(flaw, float(random.uniform(0.75, 1)), float(random.uniform(0, np.pi)))
    _fill(mask, placement.to_image(outline))
    left, top, width, height = cv2.boundingRect(mask)
    centre = placement.to_image(flaw.at[None])[0]
    across = (np.arange(left, left + width) - centre[0]) / (flaw.radius * placement.unit)
    down = (np.arange(top, top + height) - centre[1]) / (flaw.radius * placement.unit)
    towards = across[None, :] * light[0] + down[:, None] * light[1]
    reach = np.clip(np.hypot(across[None, :], down[:, None]), 0, 1)
    bowl = -towards * (0.35 + 0.65 * reach) * float(random.uniform(0.45, 0.7)) - 0.08
    roi = np.s_[top : top + height, left : left + width]
    canvas[roi] *= (1 + bowl * (mask[roi] / 255))[..., None].astype(np.float32)
    return mask


def _draw_stain(canvas: Canvas, flaw: Flaw, placement: Placement) -> Mask:
    """A dried splash of oil, rust or coolant: a ragged blob, darker at its edge."""
    random = np.random.default_rng(flaw.seed)
    angles = np.arange(60) * (2 * np.pi / 60)
    radius = np.ones(60)
    for wave in range(2, 7):
        radius += random.uniform(0, 0.45 / wave) * np.cos(wave * angles + random.uniform(0, 2 * np.pi))
    blob = (radius / radius.max())[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1) * flaw.radius
    whole, core = _blank(canvas), _blank(canvas)
    _fill(whole, placement.to_image((flaw.at + blob).astype(np.float32)))
    _fill(core, placement.to_image((flaw.at + blob * 0.86).astype(np.float32)))
    colours = ((0.06, 0.12, 0.2), (0.08, 0.22, 0.42), (0.05, 0.05, 0.06), (0.28, 0.22, 0.12))
    colour = np.array(colours[int(random.integers(len(colours)))], np.float32)
    strength = float(random.uniform(0.45, 0.75))
    roi = _around(whole)
    alpha = (strength * (whole[roi] / 255) - 0.15 * (core[roi] / 255)).astype(np.float32)[..., None]
    canvas[roi] = canvas[roi] * (1 - alpha) + colour * alpha
    return whole


def _draw_missing_hole(canvas: Canvas, flaw: Flaw, placement: Placement) -> Mask:
    """A hole that was scribed and punched but never drilled: a ring and a centre mark on solid ground."""
    mask, spot = _blank(canvas), _blank(canvas)
    ring = placement.to_image(_ellipse(flaw, 1.0, 0.0) * 0.94 + flaw.at * 0.06)
    thickness = max(1, round(placement.unit * 0.007))
    _stroke(mask, np.vstack([ring, ring[:1]]), thickness)
    _fill(spot, placement.to_image((_ellipse(flaw, 1.0, 0.0) - flaw.at) * 0.22 + flaw.at))
    is_dark = float(canvas[_around(mask)].mean()) < 0.35
    _shift_brightness(canvas, mask, 0.35 if is_dark else -0.35)
    _shift_brightness(canvas, spot, -0.6)
    return np.maximum(mask, spot)


def _ellipse(flaw: Flaw, ratio: float, angle: float) -> Points:
    angles = np.arange(48) * (2 * np.pi / 48)
    points = np.stack([np.cos(angles), np.sin(angles) * ratio], axis=1) * flaw.radius
    return Placement((0.0, 0.0), angle, 1.0).to_image(points.astype(np.float32)) + flaw.at


def _around(mask: Mask) -> tuple[slice, slice]:
    left, top, width, height = cv2.boundingRect(mask)
    return np.s_[top : top + height, left : left + width]


def _blank(canvas: Canvas) -> Mask:
    return np.zeros(canvas.shape[:2], np.uint8)


def _fill(mask: Mask, points: Points) -> None:
    cv2.fillPoly(mask, [np.round(points * 2**_SHIFT).astype(np.int32)], (255,), cv2.LINE_AA, _SHIFT)


def _stroke(mask: Mask, points: Points, thickness: int) -> None:
    fixed = np.round(points * 2**_SHIFT).astype(np.int32)
    cv2.polylines(mask, [fixed], False, (255,), thickness, cv2.LINE_AA, _SHIFT)


def _shift_brightness(canvas: Canvas, mask: Mask, amount: float) -> None:
    roi = _around(mask)
    canvas[roi] += (mask[roi] * np.float32(amount / 255))[..., None]
