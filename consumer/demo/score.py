"""How much of what was drawn did the model find?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from consumer.demo.parts import Defect
from consumer.messages import Detection

LEAST_OVERLAP = 0.5  # intersection over union, as usual for "found"


@dataclass
class Score:
    """Defects by class: `drawn` into the parts, `found` of those, and `false` detections of defects that are not
    there."""

    drawn: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    false: Counter[str] = field(default_factory=Counter)

    @property
    def missed(self) -> Counter[str]:
        return self.drawn - self.found

    def add(self, defects: Sequence[Defect], detections: Sequence[Detection]) -> None:
        """Count one part. The most confident detections choose first; a defect is found once, a second detection of
        it is false."""
        self.drawn.update(defect.class_name for defect in defects)
        left = list(defects)
        for detection in sorted(detections, key=lambda one: -one.confidence):
            found = max(left, key=lambda defect: _match(defect, detection), default=None)
            if found is None or _match(found, detection) < LEAST_OVERLAP:
                self.false[detection.class_name] += 1
                continue
            left.remove(found)
            self.found[detection.class_name] += 1


def _match(defect: Defect, detection: Detection) -> float:
    return overlap(defect.box, detection.box) if defect.class_name == detection.class_name else 0.0


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes x1, y1, x2, y2; 0 to 1."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return common / (sum(areas) - common)
