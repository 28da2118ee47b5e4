"""Which detection of one inspection is which of another one of the same image, and what became of the others?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from consumer.messages import Detection

ChangeKind = Literal["vanished", "appeared", "class_changed", "moved", "shifted"]

Ious = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tolerances:
    """From which IoU on two boxes are of one thing, below which IoU it moved, and above which difference of its
    confidence that shifted."""

    overlap: float = 0.5
    moved: float = 0.9
    shift: float = 0.1


@dataclass(frozen=True, slots=True)
class Pair:
    """One thing, seen by both."""

    base: Detection
    candidate: Detection
    iou: float


@dataclass(frozen=True, slots=True)
class Matching:
    """Who is whom, and who has no partner."""

    pairs: tuple[Pair, ...]
    vanished: tuple[Detection, ...]
    appeared: tuple[Detection, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one thing; a pair may have both moved and shifted. `amount` (0 to 1) tells how bad it is: the
    confidence of what came or went or has another class now, 1 - IoU, or the difference of confidence."""

    kind: ChangeKind
    amount: float
    base: Detection | None
    candidate: Detection | None


def matched(base: Sequence[Detection], candidate: Sequence[Detection], *, overlap: float) -> Matching:
    """One to one, greedily: the two that overlap most become a pair first, as in the IoU tracker of Bochinski, Eiselein
    and Sikora (AVSS 2017), down to an IoU of `overlap`. Those of one class first, then the rest whatever their class.

    Boxes are x1, y1, x2, y2 in pixels of one image. Unlike the Hungarian method this does not find the largest sum of
    IoUs: the two differ only where boxes of one class overlap each other by more than `overlap`.
    """
    ious = overlaps(_boxes(base), _boxes(candidate))
    classes, others = (np.array([one.class_name for one in side]) for side in (base, candidate))
    is_same = classes[:, np.newaxis] == others[np.newaxis, :] if ious.size else np.zeros(ious.shape, bool)
    pairs = []
    for is_allowed in (is_same, ~is_same):
        left = np.where(is_allowed, ious, -1.0)
        for one, other in _nearest(left, overlap):
            pairs.append(Pair(base[one], candidate[other], float(ious[one, other])))
            ious[one, :] = ious[:, other] = -1.0  # taken, in the second round too
    known = {id(pair.base) for pair in pairs} | {id(pair.candidate) for pair in pairs}
    return Matching(
        tuple(pairs),
        tuple(one for one in base if id(one) not in known),
        tuple(one for one in candidate if id(one) not in known),
    )


def changes(matching: Matching, tolerances: Tolerances) -> Iterator[Change]:
    for pair in matching.pairs:
        one, other = pair.base, pair.candidate
        shift = abs(other.confidence - one.confidence)
        if one.class_name != other.class_name:
            yield Change("class_changed", max(one.confidence, other.confidence), one, other)
        if pair.iou < tolerances.moved:
            yield Change("moved", 1 - pair.iou, one, other)
        if shift > tolerances.shift:
            yield Change("shifted", shift, one, other)
    for one in matching.vanished:
        yield Change("vanished", one.confidence, one, None)
    for one in matching.appeared:
        yield Change("appeared", one.confidence, None, one)


def overlaps(boxes: Ious, others: Ious) -> Ious:
    """Intersection over union of n boxes with m others, x1, y1, x2, y2 each: float64 [n, m], 0 to 1; 0 where neither
    has an area."""
    x1, y1, x2, y2 = boxes.T[:, :, np.newaxis]
    other_x1, other_y1, other_x2, other_y2 = others.T[:, np.newaxis, :]
    width = (np.minimum(x2, other_x2) - np.maximum(x1, other_x1)).clip(0)
    height = (np.minimum(y2, other_y2) - np.maximum(y1, other_y1)).clip(0)
    common = width * height
    united = (x2 - x1) * (y2 - y1) + (other_x2 - other_x1) * (other_y2 - other_y1) - common
    shares: Ious = np.divide(common, united, out=np.zeros_like(common), where=united > 0)
    return shares


def _nearest(ious: Ious, least: float) -> Iterator[tuple[int, int]]:
    """Row and column of the largest, of the largest without these two, and so on; in the order of the detections where
    several are alike."""
    while ious.size and ious.max() >= least:
        one, other = divmod(int(ious.argmax()), ious.shape[1])
        yield one, other
        ious[one, :] = ious[:, other] = -1.0


def _boxes(detections: Sequence[Detection]) -> Ious:
    return np.array([one.box for one in detections], np.float64).reshape(-1, 4)
