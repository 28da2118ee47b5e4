"""Which of an image's candidates are detections."""

import numpy as np
from numpy.typing import NDArray

from consumer.detection.engine import Candidates
from consumer.messages import Parameters

# As in Ultralytics: no more candidates than these, the most confident, go into suppression.
MAX_CANDIDATES = 30_000
# As in Ultralytics: boxes of different classes are moved this many pixels apart, so that they never overlap.
# In float32 the sums keep 1/16 px up to class 136; doing the same sums in the same precision makes the same choices.
CLASS_OFFSET = np.float32(7680)

BLOCK = 128  # rows compared at once: 65 kB a matrix, quick for few candidates and for thousands


def select(candidates: Candidates, parameters: Parameters, *, nms_free: bool) -> Candidates:
    """Apply a job's own thresholds to what the engine found in its image.

    candidates: float32 [k, 6], any order: x1, y1, x2, y2 in pixels of the letterboxed image, confidence in [0, 1],
    class id. Rows with a value that is not finite are dropped. Returns float32 [m, 6], m <= max_detections, in the
    same frame, the most confident first, never a view of `candidates`.

    Keeps what is more confident than `confidence`, of `classes`; then, unless `nms_free`, drops every box that
    overlaps a more confident one of its class by more than `iou` (greedy suppression, no time limit). The choices
    equal those of `ultralytics.utils.nms.non_max_suppression`.
    """
    kept = candidates[candidates[:, 4] > parameters.confidence]
    kept = kept[np.isfinite(kept).all(axis=1)]
    if parameters.classes is not None:
        kept = kept[np.isin(kept[:, 5], parameters.classes)]
    kept = kept[np.argsort(-kept[:, 4], kind="stable")]
    if nms_free:
        return kept[: parameters.max_detections]
    kept = kept[:MAX_CANDIDATES]
    return kept[_suppress(kept, parameters.iou, parameters.max_detections)]


def _suppress(rows: Candidates, iou: float, limit: int) -> list[int]:
    """Indices of the rows, sorted by confidence, that survive greedy suppression per class; at most `limit`.

    Block by block: what an earlier survivor overlaps is dropped first, the rest is compared with one another.
    """
    corners = rows[:, :4] + rows[:, 5:6] * CLASS_OFFSET
    survivors: list[int] = []
    for first in range(0, len(rows), BLOCK):
        block = np.arange(first, min(first + BLOCK, len(rows)))
        if survivors:
            block = block[~_overlap(corners[block], corners[survivors], iou).any(axis=1)]
        is_apart = ~_overlap(corners[block], corners[block], iou)
        is_waiting = np.ones(len(block), np.bool_)
        for place in range(len(block)):
            if is_waiting[place]:
                survivors.append(int(block[place]))
                is_waiting &= is_apart[place]
        if len(survivors) >= limit:
            break
    return survivors[:limit]


def _overlap(boxes: Candidates, others: Candidates, iou: float) -> NDArray[np.bool_]:
    """Whether each of n boxes overlaps each of m others by more than `iou`: [n, m] from float32 [n, 4] and [m, 4].

    The arithmetic is torchvision's: areas and intersections in float32, the quotient compared in float64; boxes
    without an area divide 0 by 0 and so overlap nothing.
    """
    x1, y1, x2, y2 = boxes.T[:, :, np.newaxis]
    other_x1, other_y1, other_x2, other_y2 = others.T[:, np.newaxis, :]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        width = np.maximum(np.minimum(x2, other_x2) - np.maximum(x1, other_x1), np.float32(0))
        height = np.maximum(np.minimum(y2, other_y2) - np.maximum(y1, other_y1), np.float32(0))
        common = width * height
        areas = (x2 - x1) * (y2 - y1) + (other_x2 - other_x1) * (other_y2 - other_y1)
        found: NDArray[np.bool_] = common / (areas - common) > np.float64(iou)
    return found
