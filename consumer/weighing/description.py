"""What does a weights file say of itself, and what on this machine can run it?"""

from importlib.util import find_spec
from pathlib import Path

import msgspec

from consumer.detection.onnx_header import OnnxHeader, read_header
from consumer.detection.weights import Facts, Weights, check_facts, facts_of_texts, find, one_line
from consumer.errors import SettingsError
from consumer.settings import ModelSettings

_MADE_OF = {  # what must be there to import, by engine
    "torch": ("torch", "ultralytics"),
    "openvino": ("openvino",),
    "onnxruntime": ("onnxruntime", "onnx"),
}
ENGINES = tuple(_MADE_OF)
_CONVERSION = ("torch", "ultralytics", "onnx")


class Description(msgspec.Struct, frozen=True):
    """`heads` are those that could be run; `static_shape` is (batch, height, width) of weights that run at no other;
    `engines` has None for each that can run them here, else the reason why not."""

    name: str
    path: str
    sha256: str
    bytes: int
    task: str
    class_names: tuple[str, ...]
    stride: int
    image_size: tuple[int, int]
    static_shape: tuple[int | None, int, int] | None
    heads: tuple[str, ...]
    precision: str
    opset: int | None
    producer: str
    exporter: str
    licence: str
    quantized_from: str | None
    quantized_by: str | None
    engines: dict[str, str | None]


def describe(path: Path) -> Description:
    """Read the file; no engine is loaded, torch for `.pt` alone. Raises SettingsError."""
    weights = find(ModelSettings(weights=path))
    return _of_pt(weights) if weights.suffix == ".pt" else _of_onnx(weights)


def _of_onnx(weights: Weights) -> Description:
    header = read_header(weights)
    texts = header.metadata
    try:
        facts = facts_of_texts(texts)
    except (KeyError, ValueError, TypeError) as error:
        raise SettingsError(
            f"model.weights: {weights.path} lacks the metadata of an Ultralytics export (names, stride, task, imgsz): "
            f"{one_line(error)}"
        ) from error
    return _description(
        weights,
        facts,
        static_shape=_static_shape(header),
        heads=(_head(header, texts),),
        precision=facts.precision or "f32",
        opset=header.opset,
        producer=header.producer,
        exporter=f"{texts.get('author', '')} {texts.get('version', '')}".strip(),
        licence=texts.get("license", ""),
        quantized_from=texts.get("quantized_from"),
        quantized_by=texts.get("quantized_by"),
    )


def _of_pt(weights: Weights) -> Description:
    if missing := _missing(("torch", "ultralytics")):
        raise SettingsError(f"{weights.path} is read by {missing}, which is not installed: the extra `torch` has it")
    from consumer.detection import yolo

    network = yolo.read(weights)
    has_nms_free, has_dense = yolo.heads_of(network)
    exporter, licence = yolo.origin_of(weights)
    return _description(
        weights,
        yolo.facts_of(network, weights),
        heads=tuple(name for name, has in (("NMS-free", has_nms_free), ("dense", has_dense)) if has),
        precision="f32",
        exporter=exporter,
        licence=licence,
    )


def _description(
    weights: Weights,
    facts: Facts,
    *,
    heads: tuple[str, ...],
    precision: str,
    exporter: str,
    licence: str,
    static_shape: tuple[int | None, int, int] | None = None,
    opset: int | None = None,
    producer: str = "",
    quantized_from: str | None = None,
    quantized_by: str | None = None,
) -> Description:
    return Description(
        name=weights.name,
        path=str(weights.path),
        sha256=weights.sha256,
        bytes=weights.path.stat().st_size,
        task=facts.task,
        class_names=facts.class_names,
        stride=facts.stride,
        image_size=facts.image_size,
        static_shape=static_shape,
        heads=heads,
        precision=precision,
        opset=opset,
        producer=producer,
        exporter=exporter,
        licence=licence,
        quantized_from=quantized_from,
        quantized_by=quantized_by,
        engines={engine: why_not(engine, weights, facts) for engine in ENGINES},
    )


def why_not(engine: str, weights: Weights, facts: Facts) -> str | None:
    """None if the engine can run the weights on this machine, as far as can be said without loading it."""
    try:
        check_facts(weights, facts)
    except SettingsError as error:
        return str(error)
    if engine == "torch" and weights.suffix != ".pt":
        return "runs .pt weights alone"
    if missing := _missing(_MADE_OF[engine]):
        return f"{missing} is not installed"
    if engine != "torch" and weights.suffix == ".pt" and (missing := _missing(_CONVERSION)):
        return f"runs .pt weights as ONNX, but {missing}, which converts them, is not installed"
    return None


def _missing(modules: tuple[str, ...]) -> str | None:
    return next((module for module in modules if find_spec(module) is None), None)


def _static_shape(header: OnnxHeader) -> tuple[int | None, int, int] | None:
    if len(header.inputs) != 1 or len(header.inputs[0]) != 4:
        return None
    batch, _, height, width = header.inputs[0]
    return None if height is None or width is None else (batch, height, width)


def _head(header: OnnxHeader, texts: dict[str, str]) -> str:
    """By the output's shape, [n, k, 6] or [n, 4 + classes, anchors], where it is not left open."""
    last = header.outputs[0][-1] if header.outputs and header.outputs[0] else None
    is_nms_free = texts.get("end2end") == "True" if last is None else last == 6
    return "NMS-free" if is_nms_free else "dense"
