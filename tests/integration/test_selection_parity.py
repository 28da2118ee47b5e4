"""Does `select` keep what Ultralytics' own non-maximum suppression keeps, to the last bit?"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from consumer.detection.selection import select
from consumer.messages import Parameters

Boxes = NDArray[Any]


def crowded(random: np.random.Generator) -> Boxes:
    """Many boxes over each other, of all sizes."""
    corners = random.uniform(0, 600, (1500, 2))
    return np.hstack([corners, corners + random.uniform(1, 200, (1500, 2))])


def stacked(random: np.random.Generator) -> Boxes:
    """The same few boxes again and again, a pixel apart at most."""
    boxes: Boxes = np.repeat(crowded(random)[:30], 50, axis=0) + random.integers(0, 2, (1500, 4))
    return boxes


def flat(random: np.random.Generator) -> Boxes:
    """Boxes without width, without height, or turned inside out."""
    boxes = np.round(crowded(random) / 40) * 40
    boxes[:500, 2] = boxes[:500, 0]
    boxes[500:750, 3] = boxes[500:750, 1]
    boxes[750:800] = boxes[750:800][:, [2, 3, 0, 1]]
    return boxes


@pytest.mark.parametrize("iou", [0.0, 0.45, 0.7, 1.0])
@pytest.mark.parametrize("levels", [1500, 7], ids=["own confidences", "shared confidences"])
@pytest.mark.parametrize("make", [crowded, stacked, flat])
def test_the_choice_among_candidates_is_that_of_ultralytics(
    make: Callable[[np.random.Generator], Boxes], levels: int, iou: float
) -> None:
    from consumer.detection import yolo

    yolo.prepare()
    import torch

    # Once imported it is what ultralytics calls; its own stand-in breaks ties at random.
    import torchvision  # type: ignore[import-untyped]  # noqa: F401
    from ultralytics.utils.nms import non_max_suppression

    random = np.random.default_rng(1)
    for classes, limit in ((1, 1500), (80, 300)):
        scores = np.zeros((1500, classes), np.float32)
        class_ids = random.integers(0, classes, 1500)
        scores[np.arange(1500), class_ids] = random.permutation(1500) % levels / levels
        corners = make(random)
        centred = np.hstack([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]])
        predictions = torch.from_numpy(np.hstack([centred, scores]).astype(np.float32).T[None])
        for wanted in (None, tuple(range(0, classes, 3))):
            (expected,) = non_max_suppression(
                predictions.clone(), conf_thres=0.25, iou_thres=iou, classes=wanted, max_det=limit, nc=classes
            )
            parameters = Parameters(confidence=0.25, iou=iou, max_detections=limit, classes=wanted)
            candidates = as_candidates(predictions)
            np.testing.assert_array_equal(select(candidates, parameters, nms_free=False), expected.numpy())


def as_candidates(predictions: Any) -> Boxes:
    from consumer.detection.torch_engine import _rows

    rows: Boxes = _rows(predictions)[0].numpy()
    return rows
