"""How far do a program's detections agree with those of `YOLO.predict` on the same files with the same weights?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LEAST_IOU = 0.9

Row = Sequence[float]  # x1, y1, x2, y2 in pixels of the image, confidence, class id


@dataclass(frozen=True, slots=True)
class Agreement:
    """`pairs` are detections of both sides with the same class and an IoU of `LEAST_IOU`; `confidence` is the sum of
    the differences of confidence within them."""

    pairs: int = 0
    expected: int = 0
    found: int = 0
    confidence: float = 0.0

    @property
    def share(self) -> float | None:
        """Of all detections of both sides those that are paired; None where there is nothing to agree on."""
        both = self.expected + self.found
        return 2 * self.pairs / both if both else None

    @property
    def confidence_apart(self) -> float | None:
        """The mean difference of confidence within a pair."""
        return self.confidence / self.pairs if self.pairs else None

    def __add__(self, other: "Agreement") -> "Agreement":
        return Agreement(
            self.pairs + other.pairs,
            self.expected + other.expected,
            self.found + other.found,
            self.confidence + other.confidence,
        )


def compare(expected: Sequence[Row], found: Sequence[Row]) -> Agreement:
    """Of one image: the best pairs first, each detection in one pair at the most."""
    candidates = sorted(
        (
            (overlap, i, j)
            for i, one in enumerate(expected)
            for j, other in enumerate(found)
            if int(one[5]) == int(other[5]) and (overlap := iou(one, other)) >= LEAST_IOU
        ),
        reverse=True,
    )
    left, right = set(range(len(expected))), set(range(len(found)))
    pairs = []
    for _, i, j in candidates:
        if i in left and j in right:
            left.remove(i)
            right.remove(j)
            pairs.append(abs(expected[i][4] - found[j][4]))
    return Agreement(len(pairs), len(expected), len(found), sum(pairs))


def total(agreements: Iterable[Agreement]) -> Agreement:
    return sum(agreements, Agreement())


def iou(one: Row, other: Row) -> float:
    """Intersection over union of two boxes; 0 where neither has an area."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0.0) * max(height, 0.0)
    areas = sum(max(row[2] - row[0], 0.0) * max(row[3] - row[1], 0.0) for row in (one, other))
    return common / (areas - common) if areas > common else 0.0
