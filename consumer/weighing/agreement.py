"""How far are one engine's detections from another's, on the same images?"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from consumer.detection.engine import Candidates

LEAST_OVERLAP = 0.9  # intersection over union, from which on two boxes of a class are one detection


class Agreement(msgspec.Struct, frozen=True):
    """`matched` is the share of both sides' detections that have a partner of their class on the other; the other two
    are of those partners. None where there are none: nothing was found, or nothing alike."""

    reference_detections: int
    detections: int
    matched: float | None
    worst_iou: float | None
    largest_confidence_difference: float | None


def agreement(references: Sequence[Candidates], others: Sequence[Candidates]) -> Agreement:
    """Compare detections image by image: float32 [m, 6] each, x1, y1, x2, y2, confidence, class id."""
    pairs = [pair for one, other in zip(references, others, strict=True) for pair in _partners(one, other)]
    count, other_count = sum(map(len, references)), sum(map(len, others))
    return Agreement(
        reference_detections=count,
        detections=other_count,
        matched=2 * len(pairs) / (count + other_count) if count + other_count else None,
        worst_iou=min((iou for iou, _ in pairs), default=None),
        largest_confidence_difference=max((difference for _, difference in pairs), default=None),
    )


def _partners(references: Candidates, others: Candidates) -> list[tuple[float, float]]:
    """IoU and difference of confidence of each pair; the nearest choose first, and nobody has two partners."""
    ious = overlaps(references[:, :4], others[:, :4])
    ious[references[:, np.newaxis, 5] != others[np.newaxis, :, 5]] = 0
    pairs = []
    while ious.size and ious.max() >= LEAST_OVERLAP:
        one, other = np.unravel_index(ious.argmax(), ious.shape)
        pairs.append((float(ious[one, other]), abs(float(references[one, 4]) - float(others[other, 4]))))
        ious[one, :] = ious[:, other] = 0
    return pairs


def overlaps(boxes: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    """Intersection over union of n boxes with m others: [n, m]; 0 where neither has an area."""
    x1, y1, x2, y2 = boxes.astype(np.float64).T[:, :, np.newaxis]
    other_x1, other_y1, other_x2, other_y2 = others.astype(np.float64).T[:, np.newaxis, :]
    width = (np.minimum(x2, other_x2) - np.maximum(x1, other_x1)).clip(0)
    height = (np.minimum(y2, other_y2) - np.maximum(y1, other_y1)).clip(0)
    common = width * height
    areas = (x2 - x1) * (y2 - y1) + (other_x2 - other_x1) * (other_y2 - other_y1)
    united: NDArray[np.float64] = areas - common
    shares: NDArray[np.float64] = np.divide(common, united, out=np.zeros_like(common), where=united > 0)
    return shares
