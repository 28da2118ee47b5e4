"""Do our detections equal those of Ultralytics' own `predict`, for the same weights, thresholds and shapes?

The reference is `predict` on one image file a call. Ours is the way of a job: decode, letterbox, engine, select, back
to the image. Promised in f32: IoU 0.99 and 1e-3 of confidence. Measured on a CPU with AVX512-BF16, over 2,500
detections: IoU 0.99999, 3e-4 px and 7e-7 in torch, 3e-4 px and 3e-6 in OpenVINO; in bf16 IoU 0.98, 0.6 px and 0.03.
"""

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from consumer.demo.parts import render_part
from consumer.detection.engine import Engine
from consumer.detection.loading import load
from consumer.detection.selection import select
from consumer.errors import SettingsError
from consumer.images.decode import decode
from consumer.images.letterbox import letterbox, shape_of
from consumer.messages import Parameters
from consumer.settings import BatchingSettings, ImageSettings, ModelSettings
from tests.models import DENSE_ONNX, DENSE_PT, PARTS_ONNX, PARTS_PT

Detections = NDArray[np.float32]
Shapes = Literal["square", "rectangular"]

LIMITS = ImageSettings(allowed_buckets=("*",))
IMAGE_SIZE = 640
# Weights that know machine parts find little on photographs of people: both sides are asked for the faintest, too.
PARAMETERS = Parameters(confidence=0.02, iou=0.7, max_detections=300)
SURE = 0.25
PHOTOGRAPHS = 3


@dataclass(frozen=True)
class Tolerance:
    """How far two equal detections may be apart; one this close to a threshold may be missing on the other side."""

    iou: float
    confidence: float


F32 = Tolerance(iou=0.999, confidence=1e-4)
BF16 = Tolerance(iou=0.95, confidence=0.05)


@dataclass(frozen=True)
class Head:
    """One way to run weights: the `.pt`, what was exported from it, and which of its heads."""

    pt: Path
    onnx: Path | None
    nms_free: bool


HEADS = {
    "yolo26-nms-free": Head(PARTS_PT, PARTS_ONNX, nms_free=True),
    "yolo26-dense": Head(PARTS_PT, None, nms_free=False),
    "dense": Head(DENSE_PT, DENSE_ONNX, nms_free=False),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Photographs and rendered parts: landscape, portrait, square, turned by EXIF, far wider than high."""
    from consumer.detection import yolo

    yolo.prepare()
    from ultralytics.utils import ASSETS

    folder = tmp_path_factory.mktemp("images")
    paths = {"portrait photograph": ASSETS / "bus.jpg", "landscape photograph": ASSETS / "zidane.jpg"}
    paths["turned by EXIF"] = folder / "turned.jpg"
    orientation = Image.Exif()
    orientation[0x0112] = 6
    turned = Image.open(ASSETS / "zidane.jpg").transpose(Image.Transpose.ROTATE_90)
    turned.save(paths["turned by EXIF"], exif=orientation, quality=95)
    rendered = {f"part {index}": render_part(4, index).image for index in (7, 8, 10, 11)}
    rendered["row of parts"] = np.hstack([cv2.resize(image, (480, 360)) for image in rendered.values()])
    for name, image in rendered.items():
        paths[name] = folder / f"{name}.png"
        cv2.imwrite(str(paths[name]), image)
    return paths


Reference = Callable[[Head, Shapes, Path], Detections]


@pytest.fixture(scope="module")
def reference() -> Iterator[Reference]:
    """What `predict` says of one image: float32 [n, 6], x1, y1, x2, y2 in its pixels, confidence, class."""
    from consumer.detection import yolo

    yolo.prepare()
    from ultralytics.models.yolo.model import YOLO

    @cache
    def model_of(head: Head) -> Any:
        return YOLO(str(head.pt))

    @cache
    def predict(head: Head, shapes: Shapes, path: Path) -> Detections:
        (result,) = model_of(head).predict(
            str(path),
            imgsz=IMAGE_SIZE,
            rect=shapes == "rectangular",
            nms=False if head.nms_free else None,
            conf=PARAMETERS.confidence,
            iou=PARAMETERS.iou,
            max_det=PARAMETERS.max_detections,
            device="cpu",
            verbose=False,
        )
        found: Detections = result.boxes.data.numpy()
        return found

    yield predict
    gc.collect()


@pytest.fixture(scope="module")
def engine_of() -> Iterator[Callable[..., Engine]]:
    engines: dict[tuple[Any, ...], Engine] = {}

    def build(head: Head, engine: str, shapes: Shapes, precision: Literal["f32", "bf16"] = "f32") -> Engine:
        key = (head, engine, shapes, precision)
        if key not in engines:
            weights = head.onnx if engine != "torch" and head.onnx else head.pt
            nms_free: Any = "auto" if weights.suffix == ".onnx" else head.nms_free
            settings = ModelSettings(
                weights=weights,
                engine=engine,
                device="cpu",
                precision=precision,
                image_size=IMAGE_SIZE,
                shapes=shapes,
                nms_free=nms_free,
            )
            engines[key] = load(settings, BatchingSettings(max_batch=16))
        return engines[key]

    yield build
    for engine in engines.values():
        engine.close()


def ours(engine: Engine, shapes: Shapes, paths: list[Path]) -> list[Detections]:
    """The way of a job for each image; images of one slot shape run in one batch, as far as the engine has batches."""
    pixels = [decode(path.read_bytes(), LIMITS).pixels for path in paths]
    size, stride = engine.model.image_size, engine.model.stride
    by_shape: dict[tuple[int, int], list[int]] = {}
    for index, image in enumerate(pixels):
        height, width = image.shape[:2]
        shape = shape_of(width, height, image_size=size, stride=stride, rectangular=shapes == "rectangular")
        by_shape.setdefault(shape, []).append(index)
    found: dict[int, Detections] = {}
    for shape, members in by_shape.items():
        slots = np.empty((len(members), *shape, 3), np.uint8)
        placements = [letterbox(pixels[n], slot, image_size=size) for n, slot in zip(members, slots, strict=True)]
        batches = [slots[at : at + engine.max_batch] for at in range(0, len(members), engine.max_batch)]
        answers = [answer for future in [engine.start(batch) for batch in batches] for answer in future.result()]
        for index, placement, answer in zip(members, placements, answers, strict=True):
            kept = select(answer, PARAMETERS, nms_free=engine.model.nms_free)
            found[index] = np.hstack([placement.to_image(kept[:, :4]), kept[:, 4:]])
    return [found[index] for index in range(len(paths))]


def assert_equal(found: Detections, expected: Detections, tolerance: Tolerance, *, threshold: float) -> None:
    """Every detection has one partner on the other side, but for those at the threshold of confidence."""
    unmatched = [row for row in found if row[4] > threshold]
    lonely = []
    for detection in expected[expected[:, 4] > threshold]:
        partner = next((n for n, row in enumerate(unmatched) if is_same(row, detection, tolerance)), None)
        if partner is None:
            lonely.append(detection)
        else:
            del unmatched[partner]
    assert [row for row in (*lonely, *unmatched) if row[4] > threshold + tolerance.confidence] == []


def is_same(one: Detections, other: Detections, tolerance: Tolerance) -> bool:
    left, top = np.maximum(one[:2], other[:2])
    right, bottom = np.minimum(one[2:4], other[2:4])
    common = max(right - left, 0) * max(bottom - top, 0)
    areas = sum(float(np.prod(row[2:4] - row[:2])) for row in (one, other))
    is_near = common >= tolerance.iou * (areas - common)  # holds for two boxes without an area
    return bool(is_near and one[5] == other[5] and abs(one[4] - other[4]) <= tolerance.confidence)


@pytest.mark.parametrize("shapes", ["square", "rectangular"])
@pytest.mark.parametrize("engine", ["torch", "openvino", "onnxruntime"])
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_detections_equal_those_of_predict_whatever_the_batch(
    head: Head,
    engine: str,
    shapes: Shapes,
    images: dict[str, Path],
    reference: Reference,
    engine_of: Callable[..., Engine],
) -> None:
    runner = engine_of(head, engine, shapes)
    paths = list(images.values())

    together = ours(runner, shapes, paths)

    assert runner.model.nms_free == head.nms_free
    expected = [reference(head, shapes, path) for path in paths]
    assert all(len(rows) for rows in expected[:PHOTOGRAPHS]), "photographs without detections prove nothing"
    assert sum(len(rows) for rows in expected[PHOTOGRAPHS:]) > 4, "nor do parts"
    for found, rows in zip(together, expected, strict=True):
        assert_equal(found, rows, F32, threshold=PARAMETERS.confidence)
    for path, found in zip(paths[:PHOTOGRAPHS], together, strict=False):
        (alone,) = ours(runner, shapes, [path])
        assert_equal(found, alone, F32, threshold=PARAMETERS.confidence)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("head", [HEADS["yolo26-nms-free"], HEADS["dense"]], ids=["yolo26-nms-free", "dense"])
def test_detections_in_bf16_are_near_those_of_predict(
    head: Head, engine: str, images: dict[str, Path], reference: Reference, engine_of: Callable[..., Engine]
) -> None:
    try:
        runner = engine_of(head, engine, "square", "bf16")
    except SettingsError as error:
        pytest.skip(str(error))
    assert runner.model.precision == "bf16"
    paths = list(images.values())
    expected = [reference(head, "square", path) for path in paths]
    assert any((rows[:, 4] > SURE + BF16.confidence).any() for rows in expected)
    for found, rows in zip(ours(runner, "square", paths), expected, strict=True):
        assert_equal(found, rows, BF16, threshold=SURE)
