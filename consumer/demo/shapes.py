"""What outline and hole pattern does a part have, and where does it lie in the picture?"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]

# Room left between a part and the picture's edge, as a share of the picture's side.
_MARGIN = 0.03


@dataclass(frozen=True)
class Shape:
    """A part on the drawing board: lengths in part units, where 1.0 is the picture's short side.

    `outline` is an (N, 2) float32 polygon around the origin, `holes` an (M, 2) float32 list of drilled holes that
    share one `hole_radius`; `bore` is the radius of a central opening, 0 where there is none.
    """

    outline: Points
    holes: Points
    hole_radius: float
    bore: float


@dataclass(frozen=True)
class Placement:
    """Where a part lies: `centre` in pixels, `angle` in radians, `unit` in pixels per part unit."""

    centre: tuple[float, float]
    angle: float
    unit: float

    def to_image(self, points: Points) -> Points:
        """Turn (N, 2) part units into (N, 2) float32 pixels of the picture."""
        return np.asarray(_rotate(points, self.angle) * self.unit + np.array(self.centre), np.float32)


def draw_shape(random: np.random.Generator) -> Shape:
    """Pick one of the line's four kinds of part."""
    kind = (_plate, _flange, _bracket, _polygon)[int(random.integers(4))]
    return kind(random)


def place_shape(shape: Shape, size: tuple[int, int], random: np.random.Generator) -> Placement:
    """Lay the part anywhere in a picture of `size` (width, height) pixels, turned at will, in full view."""
    width, height = size
    short = min(width, height)
    angle = float(random.uniform(0, 2 * np.pi))
    turned = _rotate(shape.outline, angle)
    low, high = turned.min(axis=0), turned.max(axis=0)
    room = np.array([width, height]) * (1 - 2 * _MARGIN)
    unit = float(min(short * random.uniform(0.95, 1.25), *(room / (high - low))))
    first = np.array([width, height]) * _MARGIN - low * unit
    last = np.array([width, height]) * (1 - _MARGIN) - high * unit
    centre = first + (last - first) * random.uniform(0, 1, 2)
    return Placement((float(centre[0]), float(centre[1])), angle, unit)


def is_free(shape: Shape, point: Points, distance: float) -> bool:
    """Say whether a disc of radius `distance` around `point` (part units) touches neither edge nor hole."""
    if cv2.pointPolygonTest(shape.outline, (float(point[0]), float(point[1])), True) < distance:
        return False
    if shape.bore and float(np.hypot(*point)) < shape.bore + distance:
        return False
    return bool(np.all(np.hypot(*(shape.holes - point).T) > shape.hole_radius + distance))


def _plate(random: np.random.Generator) -> Shape:
    half = np.array([random.uniform(0.36, 0.52), random.uniform(0.28, 0.36)])
    radius = _hole_radius(random)
    inset = half - radius * random.uniform(2.0, 2.6)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * inset
    middle = np.array([[0, -1], [0, 1]]) * inset
    holes = corners if random.random() < 0.5 else np.vstack([corners, middle])
    return Shape(_rounded(half, float(random.uniform(0.02, 0.1))), holes.astype(np.float32), radius, 0.0)


def _flange(random: np.random.Generator) -> Shape:
    outer = float(random.uniform(0.34, 0.44))
    radius = _hole_radius(random)
    bore = float(random.uniform(0.06, 0.11)) if random.random() < 0.7 else 0.0
    return Shape(_ring(outer, 90), _ring(outer - 2.2 * radius, int(random.integers(4, 9))), radius, bore)


def _bracket(random: np.random.Generator) -> Shape:
    side, arm = float(random.uniform(0.62, 0.76)), float(random.uniform(0.26, 0.34))
    corners = np.array([[0, 0], [side, 0], [side, arm], [arm, arm], [arm, side], [0, side]]) - side * 0.42
    radius = _hole_radius(random)
    near, far = arm / 2, side - 2.2 * radius
    holes = np.array([[near, near], [far, near], [near, far]]) - side * 0.42
    return Shape(corners.astype(np.float32), holes.astype(np.float32), radius, 0.0)


def _polygon(random: np.random.Generator) -> Shape:
    outer, sides = float(random.uniform(0.36, 0.45)), int(random.choice([6, 8]))
    radius = _hole_radius(random)
    return Shape(_ring(outer, sides), _ring(outer * 0.92 - 2.2 * radius, sides // 2), radius, 0.0)


def _hole_radius(random: np.random.Generator) -> float:
    return float(random.uniform(0.03, 0.048))


def _ring(radius: float, count: int) -> Points:
    angles = np.arange(count) * (2 * np.pi / count)
    return (radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(np.float32)


def _rounded(half: NDArray[np.float64], radius: float) -> Points:
    arc = _ring(radius, 48)
    quarters = [((1, 1), arc[:13]), ((-1, 1), arc[12:25]), ((-1, -1), arc[24:37]), ((1, -1), np.roll(arc, 12, 0)[:13])]
    return np.vstack([(half - radius) * sign + quarter for sign, quarter in quarters]).astype(np.float32)


def _rotate(points: Points, angle: float) -> NDArray[np.float64]:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[cosine, sine], [-sine, cosine]]), np.float64)
