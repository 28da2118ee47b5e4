"""What do the part's surface and the belt under it look like before light falls on them?"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from consumer.demo.shapes import Placement, Points

Canvas = NDArray[np.float32]

# Textures are made once at this side and warped into the picture, so that a part looks the same at every resolution.
_TILE = 640
_TILE_UNIT = 480.0


def surface(random: np.random.Generator, size: tuple[int, int], placement: Placement) -> Canvas:
    """Give the part's material for a whole picture: (H, W, 3) float32 BGR around 0..1, turned with the part."""
    grain, colour = (_brushed, _cast, _plastic, _painted)[int(random.integers(4))](random)
    return coloured(_warp(grain, size, placement), colour)


def belt(random: np.random.Generator, size: tuple[int, int]) -> Canvas:
    """Give the ground under the part: (H, W, 3) float32 BGR around 0..1, a rubber belt, slats, or a plain table."""
    pattern = _noise(random, 1.2) * 0.05 + _noise(random, 24) * 0.08
    kind, period = int(random.integers(3)), float(random.uniform(18, 60))
    if kind < 2:
        rows = np.arange(_TILE) * (2 * np.pi / period)
        waves = np.sin(rows)[:, None] if kind == 0 else np.sin(rows)[:, None] * np.sin(rows)[None, :]
        pattern += float(random.uniform(0.04, 0.14)) * np.tanh(3 * waves)
    level = float(random.choice([random.uniform(0.1, 0.3), random.uniform(0.6, 0.8)], p=[0.75, 0.25]))
    width, height = size
    unit = max(width, height) / _TILE * _TILE_UNIT
    laid = Placement((width / 2, height / 2), float(random.uniform(0, np.pi)), unit)
    return coloured(level * (1 + _warp(pattern.astype(np.float32), size, laid)), _tint(random, 0.06))


def marking(random: np.random.Generator, size: tuple[int, int], placement: Placement, at: Points) -> Canvas:
    """Give the mask of a part number lasered at `at` (part units): (H, W) float32, 0..1. It is no defect."""
    tile = np.zeros((_TILE, _TILE), np.uint8)
    text = f"{chr(65 + int(random.integers(26)))}{int(random.integers(1000)):03d}"
    corner = (at * _TILE_UNIT + _TILE / 2 - np.array([34, -8])).astype(int)
    cv2.putText(tile, text, (int(corner[0]), int(corner[1])), cv2.FONT_HERSHEY_SIMPLEX, 0.75, 255, 2, cv2.LINE_AA)
    return _warp(np.asarray(tile / np.float32(255), np.float32), size, placement)


def coloured(plane: Canvas, colour: Canvas) -> Canvas:
    """Give a plane (H, W) in three channels, each times its part of `colour`: (H, W, 3) float32.

    NumPy's own broadcasting over a last axis of three takes twice as long.
    """
    return np.asarray(cv2.merge([plane * part for part in colour]), np.float32)


def _brushed(random: np.random.Generator) -> tuple[Canvas, Canvas]:
    lines = cv2.blur(random.standard_normal((_TILE, _TILE)).astype(np.float32), (91, 1))
    grain = 0.6 + float(random.uniform(0.35, 0.7)) * lines + 0.05 * _noise(random, 30)
    return grain, _tint(random, 0.06)


def _cast(random: np.random.Generator) -> tuple[Canvas, Canvas]:
    grain = 0.42 + 0.05 * _noise(random, 1.3) + 0.03 * _noise(random, 5) + 0.03 * _noise(random, 20)
    return grain, _tint(random, 0.08)


def _plastic(random: np.random.Generator) -> tuple[Canvas, Canvas]:
    grain = float(random.uniform(0.35, 0.75)) + 0.012 * _noise(random, 1)
    return grain.astype(np.float32), _tint(random, 0.25)


def _painted(random: np.random.Generator) -> tuple[Canvas, Canvas]:
    grain = 0.6 + 0.025 * _noise(random, 3) + 0.02 * _noise(random, 30)
    return grain, _tint(random, 0.35)


def _tint(random: np.random.Generator, strength: float) -> Canvas:
    return (1 + random.uniform(-strength, strength, 3)).astype(np.float32)


def _noise(random: np.random.Generator, softness: float) -> Canvas:
    """Make smooth noise of unit deviation; `softness` is the size of its grains in tile pixels."""
    side = max(8, int(_TILE / softness))
    coarse = random.standard_normal((side, side)).astype(np.float32)
    return cv2.resize(coarse, (_TILE, _TILE), interpolation=cv2.INTER_CUBIC).astype(np.float32)


def _warp(tile: Canvas, size: tuple[int, int], placement: Placement) -> Canvas:
    scale = placement.unit / _TILE_UNIT
    cosine, sine = np.cos(placement.angle) * scale, np.sin(placement.angle) * scale
    middle = _TILE / 2
    matrix = np.array(
        [
            [cosine, -sine, placement.centre[0] - (cosine - sine) * middle],
            [sine, cosine, placement.centre[1] - (sine + cosine) * middle],
        ]
    )
    return cv2.warpAffine(tile, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101).astype(
        np.float32
    )
