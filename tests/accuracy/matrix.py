"""What does each engine find in each precision, head and shape, beside Ultralytics' own `predict` on those images?"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from consumer.demo.dataset import write_images
from consumer.detection import yolo
from consumer.detection.engine import Candidates, Engine
from consumer.detection.loading import load
from consumer.images.decode import decode
from consumer.images.letterbox import letterbox, shape_of
from consumer.messages import Parameters
from consumer.settings import BatchingSettings, ImageSettings, ModelSettings, Settings
from consumer.weighing.agreement import Agreement, agreement
from consumer.weighing.quantization import make_int8
from consumer.weighing.samples import Slot, found_by
from tests.models import DENSE_ONNX, DENSE_PT, PARTS_ONNX, PARTS_PT, STATIC_ONNX

IMAGES, CALIBRATION_IMAGES, CALIBRATED_WITH = 24, 120, 96
PARAMETERS = Parameters(confidence=0.25, iou=0.7, max_detections=300)


@dataclass(frozen=True)
class Bound:
    """What is promised: the least share of detections that are the same, and how far those may be apart."""

    same: float
    iou: float
    confidence: float


# Few detections: one that crosses the threshold of confidence is two hundredths.
BOUNDS = {"f32": Bound(1.0, 0.999, 1e-4), "bf16": Bound(0.95, 0.9, 0.1), "int8": Bound(0.7, 0.9, 0.7)}
FAST = Bound(0.9, 0.9, 0.2)  # other pixels


@dataclass(frozen=True)
class Family:
    """Weights in their files, and which of their heads is asked."""

    name: str
    pt: Path
    exported: Path
    nms_free: bool
    is_static: bool = False


FAMILIES = (
    Family("YOLO26n, NMS-free", PARTS_PT, PARTS_ONNX, nms_free=True),
    Family("YOLO11, dense", DENSE_PT, DENSE_ONNX, nms_free=False),
    Family("YOLO11, dense, static", DENSE_PT, STATIC_ONNX, nms_free=False, is_static=True),
)


@dataclass(frozen=True)
class Way:
    """One row of the matrix."""

    family: Family
    engine: str
    precision: str
    shapes: str
    decode: str = "exact"

    @property
    def id(self) -> str:
        return ", ".join((self.family.name, self.engine, self.precision, self.shapes, self.decode))

    @property
    def image_size(self) -> int:
        """Rectangular images of these NMS-free weights need 640: their top-k wants 300 anchors (docs/engines.md)."""
        return 640 if self.shapes == "rectangular" else 320

    @property
    def bound(self) -> Bound:
        return FAST if self.decode == "fast" else BOUNDS[self.precision]


def ways() -> Iterator[Way]:
    runs = [(engine, precision) for engine in ("torch", "openvino") for precision in ("f32", "bf16")]
    runs += [("onnxruntime", "f32"), ("openvino", "int8"), ("onnxruntime", "int8")]
    for family in FAMILIES:
        if family.is_static:
            yield from (Way(family, engine, "f32", "square") for engine in ("openvino", "onnxruntime"))
            continue
        for shapes in ("square", "rectangular"):
            yield from (Way(family, engine, precision, shapes) for engine, precision in runs)
        yield Way(family, "openvino", "f32", "square", decode="fast")


class Matrix:
    """The images of one run, and the int8 weights that are made for it, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        write_images(folder / "images", seed=5, count=IMAGES)  # the held-out line
        write_images(folder / "calibration", seed=3, count=CALIBRATION_IMAGES)
        self._paths = sorted((folder / "images").glob("*.jpg"))
        self._int8 = cache(self._quantized)
        self._expected = cache(self._predicted)

    def agreement(self, way: Way) -> Agreement:
        """Raises SettingsError where this machine has not the precision."""
        expected = self._expected(way.family, way.image_size, way.shapes)
        settings: dict[str, Any] = {"engine": way.engine, "precision": way.precision, "device": "cpu"}
        settings["shapes"] = way.shapes
        if not way.family.is_static:
            settings["image_size"] = way.image_size
        if way.engine == "torch":
            settings |= {"weights": way.family.pt, "nms_free": way.family.nms_free}
        else:
            settings["weights"] = self._int8(way.family) if way.precision == "int8" else way.family.exported
        engine = load(ModelSettings.model_validate(settings), BatchingSettings(max_batch=1))
        try:
            return agreement(expected, found_by(engine, self._slots(engine, way), PARAMETERS))
        finally:
            engine.close()

    def _slots(self, engine: Engine, way: Way) -> Iterator[Slot]:
        limits = ImageSettings.model_validate({"allowed_buckets": ["*"], "decode": way.decode})
        size, stride = engine.model.image_size, engine.model.stride
        for path in self._paths:
            image = decode(path.read_bytes(), limits, image_size=size)
            is_rectangular = way.shapes == "rectangular"
            shape = shape_of(image.width, image.height, image_size=size, stride=stride, rectangular=is_rectangular)
            pixels = np.empty((1, *shape, 3), np.uint8)
            whole = (image.height, image.width)
            yield Slot(pixels, letterbox(image.pixels, pixels[0], image_size=size, image=whole))

    def _quantized(self, family: Family) -> Path:
        made = self._folder / f"{family.exported.stem}-int8.onnx"
        settings = Settings.model_validate({"images": {"allowed_buckets": ["*"]}})
        names = [str(self._folder / "calibration")]
        make_int8(family.exported, made, names, settings, count=CALIBRATED_WITH, preset="mixed", force=False)
        return made

    def _predicted(self, family: Family, image_size: int, shapes: str) -> list[Candidates]:
        """What Ultralytics says of one image a call."""
        yolo.prepare()
        from ultralytics.models.yolo.model import YOLO

        model: Any = YOLO(str(family.pt))
        wanted = {"imgsz": image_size, "conf": PARAMETERS.confidence, "iou": PARAMETERS.iou, "max_det": 300}
        nms = False if family.nms_free else None
        rect = shapes == "rectangular"
        return [
            model.predict(str(path), rect=rect, nms=nms, device="cpu", verbose=False, **wanted)[0].boxes.data.numpy()
            for path in self._paths
        ]
