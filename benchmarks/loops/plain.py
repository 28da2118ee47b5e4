"""What is a plain loop's result, on the wire?"""

import json
from collections.abc import Sequence
from typing import Any


def result_of(job: dict[str, Any], rows: Sequence[Sequence[float]], names: Sequence[str]) -> bytes:
    """A result's bytes; `rows` are x1, y1, x2, y2 in pixels of the image, confidence, class id."""
    detections = [
        {
            "class_id": int(class_id),
            "class_name": names[int(class_id)],
            "confidence": round(confidence, 5),
            "box": [round(x1, 2), round(y1, 2), round(x2, 2), round(y2, 2)],
        }
        for x1, y1, x2, y2, confidence, class_id in rows
    ]
    return json.dumps({"job_id": job["job_id"], "image": job["image"], "detections": detections}).encode()
