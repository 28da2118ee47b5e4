"""`python -m tests.accuracy [FILE]`: every engine, precision, head and shape against `predict`, as a table in FILE."""

import platform
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from consumer.demo.dataset import write_images
from consumer.detection import yolo
from consumer.detection.engine import Candidates
from consumer.detection.loading import load
from consumer.errors import SettingsError
from consumer.messages import Parameters
from consumer.settings import BatchingSettings, ModelSettings, Settings
from consumer.weighing.agreement import Agreement, agreement
from consumer.weighing.quantization import make_int8
from consumer.weighing.samples import found_by, named, slots_of
from tests.models import DENSE_ONNX, DENSE_PT, PARTS_ONNX, PARTS_PT, STATIC_ONNX

IMAGES = 24
SETTINGS = Settings.model_validate({"images": {"allowed_buckets": ["*"]}})
PARAMETERS = Parameters(confidence=0.25, iou=0.7, max_detections=300)
BEGIN, END = "<!-- begin: python -m tests.accuracy -->", "<!-- end -->"
PACKAGES = ("ultralytics-opencv-headless", "torch", "openvino", "onnxruntime", "nncf")
HEADER = (
    "| family | engine | precision | shapes | detections (predict) | same | worst IoU | confidence within |\n"
    "|---|---|---|---|---|---|---|---|\n"
)


def main(page: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        write_images(images, seed=5, count=IMAGES)  # the held-out line
        rows = [row for family in families(Path(folder)) for row in rows_of(family, images)]
    text = page.read_text(encoding="utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{machine()}\n\n{HEADER}{''.join(rows)}{END}{after}", encoding="utf-8")


def families(folder: Path) -> Iterator[tuple[str, Path, bool, tuple[tuple[Path, str, str], ...], tuple[str, ...]]]:
    """Name, reference, whether NMS-free, (weights, engine, precision) of each row, and shape policies."""
    calibration = folder / "calibration"
    write_images(calibration, seed=3, count=120)
    for name, pt, exported, nms_free in (
        ("YOLO26n, NMS-free", PARTS_PT, PARTS_ONNX, True),
        ("YOLO11, dense", DENSE_PT, DENSE_ONNX, False),
    ):
        int8 = folder / f"{exported.stem}-int8.onnx"
        make_int8(exported, int8, [str(calibration)], SETTINGS, count=96, preset="mixed", force=False)
        ways = (
            *((pt, "torch", precision) for precision in ("f32", "bf16")),
            *((exported, "openvino", precision) for precision in ("f32", "bf16")),
            (exported, "onnxruntime", "f32"),
            (int8, "openvino", "int8"),
            (int8, "onnxruntime", "int8"),
        )
        yield name, pt, nms_free, ways, ("square", "rectangular")
    ways = tuple((STATIC_ONNX, engine, "f32") for engine in ("openvino", "onnxruntime"))
    yield "YOLO11, dense, static", DENSE_PT, False, ways, ("square",)


def rows_of(family: Any, images: Path) -> Iterator[str]:
    name, pt, nms_free, ways, policies = family
    for shapes in policies:
        expected = predicted(pt, images, nms_free=nms_free, rectangular=shapes == "rectangular")
        for weights, engine, precision in ways:
            print(name, engine, precision, shapes, file=sys.stderr, flush=True)  # noqa: T201
            try:
                answer = cells(agreement(expected, found(weights, images, engine, precision, shapes)))
            except SettingsError as error:
                answer = f"cannot run here: {error} | | |".replace(f"{weights.parent}/", "")
            yield f"| {name} | {engine} | {precision} | {shapes} | {answer} |\n"


def predicted(pt: Path, images: Path, *, nms_free: bool, rectangular: bool) -> list[Candidates]:
    """What Ultralytics says of one image a call."""
    yolo.prepare()
    from ultralytics.models.yolo.model import YOLO

    model: Any = YOLO(str(pt))
    wanted: dict[str, Any] = {"imgsz": 320, "conf": 0.25, "iou": 0.7, "max_det": 300, "device": "cpu", "verbose": False}
    nms = False if nms_free else None
    return [
        model.predict(str(path), rect=rectangular, nms=nms, **wanted)[0].boxes.data.numpy()
        for path in sorted(images.glob("*.jpg"))
    ]


def found(weights: Path, images: Path, engine: str, precision: str, shapes: str) -> list[Candidates]:
    wanted = {"weights": weights, "engine": engine, "precision": precision, "shapes": shapes, "device": "cpu"}
    running = load(ModelSettings.model_validate(wanted), BatchingSettings(max_batch=1))
    try:
        samples = named([str(images)], SETTINGS, most=IMAGES)
        size, stride = running.model.image_size, running.model.stride
        slots = slots_of(samples, image_size=size, stride=stride, rectangular=shapes == "rectangular")
        return found_by(running, slots, PARAMETERS)
    finally:
        running.close()


def cells(alike: Agreement) -> str:
    worst, apart = alike.worst_iou or 0, alike.largest_confidence_difference or 0
    counts = f"{alike.detections} ({alike.reference_detections})"
    return f"{counts} | {alike.matched or 0:.1%} | {worst:.5f} | {apart:.1e}"


def machine() -> str:
    cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8") if sys.platform == "linux" else ""
    names = [line.partition(":")[2].strip() for line in cpus.splitlines() if line.startswith("model name")]
    flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_int8") if f" {flag} " in cpus]
    return f"{names[0] if names else platform.processor()} ({', '.join(flags)}); " + ", ".join(
        f"{package} {version(package)}" for package in PACKAGES
    )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/accuracy.md"))
