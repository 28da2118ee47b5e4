"""How do `.pt` weights become what an engine runs best, and is it the same model still?"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from consumer.detection.engine import Engine, Pixels
from consumer.detection.loading import load
from consumer.detection.weights import Weights, check_facts, choose_head, find, input_size, one_line
from consumer.errors import CheckFailed, SettingsError
from consumer.messages import Parameters
from consumer.settings import BatchingSettings, ModelSettings
from consumer.weighing.agreement import Agreement, agreement
from consumer.weighing.placing import place
from consumer.weighing.samples import found_by, rendered, slots_of

Target = Literal["onnx", "openvino"]
# Faint detections are compared, too: most models find little on images that are not theirs.
PARAMETERS = Parameters(confidence=0.02, iou=0.7, max_detections=300)
IMAGES = 8
LEAST_MATCHED = 0.99  # one of hundreds may lie at the threshold
LEAST_IOU = 0.99
MOST_DIFFERENCE = 1e-3


class Exported(msgspec.Struct, frozen=True):
    """`agreement` is that of OpenVINO on the file with torch on its source, where that was looked at."""

    path: str
    sha256: str
    nms_free: bool
    image_size: int
    static: bool
    agreement: Agreement | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asked for; None is what the weights were trained at."""

    to: Target
    image_size: int | None
    static: bool
    nms_free: bool | Literal["auto"]


def export(source: Path, target: Path, wish: Wish, *, force: bool, images: Iterable[Pixels] | None) -> Exported:
    """Write the ONNX file `target`. To `openvino` it must find what torch finds (CheckFailed), or there is no file.

    Raises SettingsError for weights or a target that cannot be used, or where what makes the file is not installed.
    """
    weights = pt_weights(source)
    model = ModelSettings(weights=source, image_size=wish.image_size, nms_free=wish.nms_free, device="cpu")
    with place(target, force=force, source=source) as made:
        nms_free, side = _write(weights, model, made, static=wish.static)
        found = _compared(weights, made, model, nms_free, images) if wish.to == "openvino" else None
        sha256 = find(ModelSettings(weights=made)).sha256
    return Exported(str(target), sha256, nms_free, side, wish.static, found)


def build_tensorrt(source: Path, image_size: int | None) -> Engine:
    """Load the weights once with TensorRT, which leaves its kernels in the cache that `consumer run` looks into."""
    model = {"weights": source, "engine": "onnxruntime", "provider": "tensorrt", "device": "cuda"}
    return load(ModelSettings.model_validate({**model, "image_size": image_size}), BatchingSettings())


def pt_weights(source: Path) -> Weights:
    weights = find(ModelSettings(weights=source))
    if weights.suffix != ".pt":
        raise SettingsError(f"{source} is no .pt file, only those can be exported")
    return weights


def _write(weights: Weights, model: ModelSettings, made: Path, *, static: bool) -> tuple[bool, int]:
    try:
        from consumer.detection import yolo
        from consumer.detection.shipping import ship_onnx

        network = yolo.read(weights)
    except ImportError as error:
        raise SettingsError(f"export needs the extra `torch`: {one_line(error)}") from error
    facts = yolo.facts_of(network, weights)
    check_facts(weights, facts)
    has_nms_free, has_dense = yolo.heads_of(network)
    nms_free = choose_head(model.nms_free, weights, has_nms_free=has_nms_free, has_dense=has_dense)
    side, _ = input_size(model, weights, facts)
    try:
        with warnings.catch_warnings(action="ignore"):  # the exporter's own business
            ship_onnx(weights.path, made, image_size=side, nms_free=nms_free, dynamic=not static)
    except ImportError as error:
        raise SettingsError(f"export needs the extra `torch`: {one_line(error)}") from error
    except Exception as error:  # the exporter raises what its many steps raise
        raise SettingsError(f"{weights.path} cannot be exported: {one_line(error)}") from error
    return nms_free, side


def _compared(
    weights: Weights, made: Path, model: ModelSettings, nms_free: bool, images: Iterable[Pixels] | None
) -> Agreement:
    pictures = list(images) if images is not None else rendered(IMAGES)
    common = {"device": "cpu", "precision": "f32", "image_size": model.image_size}
    settings = (
        ModelSettings.model_validate({**common, "weights": weights.path, "engine": "torch", "nms_free": nms_free}),
        ModelSettings.model_validate({**common, "weights": made, "engine": "openvino"}),
    )
    found = []
    for one in settings:
        engine = load(one, BatchingSettings(max_batch=1))
        try:
            size, stride = engine.model.image_size, engine.model.stride
            slots = slots_of(pictures, image_size=size, stride=stride, rectangular=False)
            found.append(found_by(engine, slots, PARAMETERS))
        finally:
            engine.close()
    alike = agreement(*found)
    if not is_the_same(alike):
        raise CheckFailed(f"openvino finds something else than torch in the same images, no file is written: {alike}")
    return alike


def is_the_same(found: Agreement) -> bool:
    """What is promised of f32 on any engine; nothing found on either side is the same, too."""
    if found.matched is None:
        return True
    return (
        found.matched >= LEAST_MATCHED
        and (found.worst_iou or 0) >= LEAST_IOU
        and (found.largest_confidence_difference or 0) <= MOST_DIFFERENCE
    )
