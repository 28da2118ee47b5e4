"""Which engine runs the weights that the settings name; nothing it cannot run gets past here."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from consumer.detection.conversion import converted
from consumer.detection.engine import Engine, Model
from consumer.detection.weights import Weights, find, one_line
from consumer.errors import Fatal, SettingsError
from consumer.settings import BatchingSettings, ModelSettings


def load(model: ModelSettings, batching: BatchingSettings) -> Engine:
    """A warm engine for the settings, `auto` resolved and every other wish met to the letter.

    `auto`: the device is CUDA where torch sees one and the weights are `.pt`, else the CPU; the engine is torch on
    CUDA and openvino on the CPU; the precision is f16 on CUDA and f32 on the CPU. Raises SettingsError.
    """
    if ":" in model.engine:
        return _own_engine(model, batching)
    if model.engine == "onnxruntime":
        raise SettingsError("model.engine: onnxruntime comes in a later release, use openvino or torch")
    weights = find(model)
    if model.engine == "torch" and weights.suffix != ".pt":
        raise SettingsError(f"model.engine: torch runs .pt weights, {weights.path} is none; openvino runs .onnx")
    device = _device(model, weights)
    engine = model.engine
    if engine == "auto":
        engine = "openvino" if device == "cpu" else "torch"
    precision = model.precision
    if precision == "auto":
        precision = "f32" if device == "cpu" else "f16"
    if engine == "torch":
        engine_on_torch: Engine = _import("torch").load(weights, model, batching, device=device, precision=precision)
        return engine_on_torch
    return _load_openvino(weights, model, batching, precision=precision)


def _load_openvino(weights: Weights, model: ModelSettings, batching: BatchingSettings, *, precision: str) -> Engine:
    openvino_engine = _import("openvino")
    onnx = None
    if weights.suffix == ".pt":
        with _needing("torch"):
            onnx = converted(weights, model)
    engine: Engine = openvino_engine.load(weights, model, batching, precision=precision, onnx=onnx)
    return engine


def _device(model: ModelSettings, weights: Weights) -> str:
    """`cpu` or `cuda:N`, looked at only where torch may be the engine: its import takes seconds."""
    if model.device == "cpu":
        return "cpu"
    if weights.suffix == ".onnx" or model.engine == "openvino":
        if model.device == "auto":
            return "cpu"
        raise SettingsError(f"model.device: {model.device}, but {weights.path} would run in openvino, on the CPU alone")
    cuda = _import("torch").torch.cuda
    count = cuda.device_count() if cuda.is_available() else 0
    if model.device == "auto":
        return "cuda:0" if count else "cpu"
    index = int(model.device.partition(":")[2] or 0)
    if index >= count:
        raise SettingsError(f"model.device: {model.device} is not there, torch sees {count} CUDA devices")
    return f"cuda:{index}"


def _import(engine: str) -> Any:
    """Our module of an engine; its libraries come with the extra of the same name."""
    with _needing(engine):
        return importlib.import_module(f"consumer.detection.{engine}_engine")


@contextmanager
def _needing(extra: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise SettingsError(
            f"model.engine: {extra} is not installed ({one_line(error)}): pip install '.[{extra}]' in a checkout"
        ) from error


# --- anyone's engine ----------------------------------------------------------------------------------------------


def _own_engine(model: ModelSettings, batching: BatchingSettings) -> Engine:
    if model.weights is not None:
        find(model)
    module_name, _, factory_name = model.engine.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), factory_name)
        engine = factory(model, batching)
    except Fatal:
        raise
    except Exception as error:  # whatever somebody else's code raises
        raise SettingsError(f"model.engine: {model.engine}: {type(error).__name__}: {one_line(error)}") from error
    _check(engine, model.engine, batching)
    checked: Engine = engine
    return checked


def _check(engine: Any, name: str, batching: BatchingSettings) -> None:
    def refuse(what: str) -> NoReturn:
        raise SettingsError(f"model.engine: {name} returned {engine!r}, {what}")

    if not isinstance(getattr(engine, "model", None), Model):
        refuse("whose `model` is no consumer.detection.engine.Model")
    for attribute in ("start", "close"):
        if not callable(getattr(engine, attribute, None)):
            refuse(f"which has no method `{attribute}`")
    for attribute, most in (("places", None), ("max_batch", batching.max_batch)):
        number = getattr(engine, attribute, None)
        if not isinstance(number, int) or number < 1 or (most is not None and number > most):
            refuse(f"whose `{attribute}` is {number!r}, expected 1 to {most or 'any number'}")
