"""Which engine runs the weights that the settings name; nothing it cannot run gets past here."""

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from consumer.detection.conversion import converted
from consumer.detection.engine import Engine, Model
from consumer.detection.weights import Weights, find, one_line
from consumer.errors import Fatal, SettingsError
from consumer.settings import BatchingSettings, ModelSettings


def load(model: ModelSettings, batching: BatchingSettings) -> Engine:
    """A warm engine for the settings, `auto` resolved and every other wish met to the letter.

    `auto`: the device is CUDA where torch sees one and the weights are `.pt`, else the CPU; the engine is torch on
    CUDA and openvino on the CPU, or onnxruntime for `.onnx` weights where that is installed and openvino is not; the
    precision is f16 on CUDA and f32 on the CPU, and int8 of weights that are quantised. Raises SettingsError.
    """
    if model.provider != "auto" and model.engine != "onnxruntime":
        raise SettingsError(
            f"model.provider: {model.provider} is for model.engine: onnxruntime alone, which is {model.engine}"
        )
    if ":" in model.engine:
        return _own_engine(model, batching)
    weights = find(model)
    if model.engine == "torch" and weights.suffix != ".pt":
        raise SettingsError(f"model.engine: torch runs .pt weights, {weights.path} is none; openvino runs .onnx")
    device = _device(model, weights)
    engine = _engine_on(device, weights) if model.engine == "auto" else model.engine
    precision = model.precision
    if precision == "auto":
        precision = "f32" if device == "cpu" else "f16"
    if engine == "torch":
        engine_on_torch: Engine = _import("torch").load(weights, model, batching, device=device, precision=precision)
        return engine_on_torch
    chosen: dict[str, str] = {"precision": precision}
    if engine == "onnxruntime":
        chosen |= {"device": device, "provider": _provider(model, device)}
    engine_module = _import(engine)
    engine_on_onnx: Engine = engine_module.load(weights, model, batching, onnx=_onnx(weights, model), **chosen)
    return engine_on_onnx


def _onnx(weights: Weights, model: ModelSettings) -> Path | None:
    if weights.suffix == ".onnx":
        return None
    with _needing("torch"):
        return converted(weights, model)


def _engine_on(device: str, weights: Weights) -> str:
    if device != "cpu":
        return "torch"
    is_only_one = not _is_installed("openvino") and _is_installed("onnxruntime") and _is_installed("onnx")
    return "onnxruntime" if is_only_one and weights.suffix == ".onnx" else "openvino"


def _is_installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


def _provider(model: ModelSettings, device: str) -> str:
    if model.provider != "auto":
        return model.provider
    return "cpu" if device == "cpu" else "cuda"


def _device(model: ModelSettings, weights: Weights) -> str:
    """`cpu` or `cuda:N`, looked at only where torch may be the engine: its import takes seconds."""
    if model.engine == "onnxruntime":
        return _device_of_provider(model)
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


def _device_of_provider(model: ModelSettings) -> str:
    """Whether it is there the driver says, when the engine is made."""
    is_cpu = model.device == "cpu" or (model.device == "auto" and model.provider in {"auto", "cpu"})
    if (is_cpu and model.provider in {"cuda", "tensorrt"}) or (not is_cpu and model.provider == "cpu"):
        raise SettingsError(f"model.provider: {model.provider} does not run on model.device: {model.device}")
    return "cpu" if is_cpu else f"cuda:{int(model.device.partition(':')[2] or 0)}"


def _import(engine: str) -> Any:
    """Our module of an engine; its libraries come with the extra of that name."""
    with _needing("onnx" if engine == "onnxruntime" else engine):
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
