"""What `model` settings are refused before anything is loaded, and how `auto` and own engines are resolved."""

import hashlib
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumer.detection.loading import load
from consumer.errors import EngineBroken, SettingsError
from consumer.settings import BatchingSettings, ModelSettings
from tests import stand_ins
from tests.models import DENSE_ONNX

BATCHING = BatchingSettings(max_batch=4)


def problem(**settings: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        load(ModelSettings(**settings), BATCHING)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    (tmp_path / "model.engine").touch()
    assert problem() == "model.weights: required, not set"
    assert problem(weights=tmp_path / "no.pt") == f"model.weights: {tmp_path}/no.pt does not exist"
    assert problem(weights=tmp_path) == f"model.weights: {tmp_path} is not a file"
    assert problem(weights=tmp_path / "model.engine") == (
        f"model.weights: {tmp_path}/model.engine ends in '.engine', expected .pt or .onnx"
    )


def test_weights_of_another_digest_are_refused_with_both(tmp_path: Path) -> None:
    weights = tmp_path / "model.onnx"
    weights.write_bytes(b"swapped")
    digest = hashlib.sha256(b"swapped").hexdigest()
    message = problem(weights=weights, sha256="0" * 64)
    assert message == f"model.sha256: {weights} has the digest {digest}, the settings ask for {'0' * 64}"
    assert problem(weights=weights, sha256="0" * 64, engine="tests.stand_ins:null_engine") == message


@pytest.mark.thorough
def test_weights_of_the_pinned_digest_are_loaded() -> None:
    digest = hashlib.sha256(DENSE_ONNX.read_bytes()).hexdigest()
    engine = load(ModelSettings(weights=DENSE_ONNX, sha256=digest, image_size=64), BATCHING)
    engine.close()
    assert engine.model.sha256 == digest


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"provider": "cuda"}, "model.provider: cuda is for model.engine: onnxruntime alone, which is auto"),
        ({"provider": "cpu", "engine": "openvino"}, "model.provider: cpu is for model.engine: onnxruntime alone"),
        (
            {"provider": "cpu", "engine": "tests.stand_ins:null_engine"},
            "model.provider: cpu is for model.engine: onnxruntime alone",
        ),
        (
            {"provider": "tensorrt", "device": "cpu", "engine": "onnxruntime"},
            "model.provider: tensorrt does not run on model.device: cpu",
        ),
        (
            {"provider": "cpu", "device": "cuda:1", "engine": "onnxruntime"},
            "model.provider: cpu does not run on model.device: cuda:1",
        ),
        ({"provider": "cuda", "engine": "onnxruntime"}, "model.provider: cuda is not in this onnxruntime"),
        ({"device": "cuda", "engine": "onnxruntime"}, "model.provider: cuda is not in this onnxruntime"),
    ],
)
def test_a_provider_that_cannot_be_is_named(settings: dict[str, Any], fact: str) -> None:
    assert problem(weights=DENSE_ONNX, **settings).startswith(fact)


def test_without_openvino_auto_runs_onnx_weights_in_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    engine = load(ModelSettings(weights=DENSE_ONNX, image_size=64), BATCHING)
    engine.close()
    assert (engine.model.engine, engine.model.device) == ("onnxruntime", "cpu")


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"engine": "torch"}, "model.engine: torch runs .pt weights"),
        ({"device": "cuda"}, "model.device: cuda, but"),
        ({"engine": "openvino", "device": "cuda:1"}, "model.device: cuda:1, but"),
    ],
)
def test_onnx_weights_run_on_the_cpu_alone(settings: dict[str, Any], fact: str) -> None:
    assert problem(weights=DENSE_ONNX, **settings).startswith(fact)


@pytest.mark.parametrize(
    ("library", "suffix", "engine", "extra"),
    [
        ("torch", "pt", "auto", "torch"),
        ("torch", "pt", "torch", "torch"),
        ("ultralytics", "pt", "torch", "torch"),
        ("torch", "pt", "openvino", "torch"),
        ("openvino", "onnx", "openvino", "openvino"),
        ("onnxruntime", "onnx", "onnxruntime", "onnx"),
        ("torch", "pt", "onnxruntime", "torch"),
    ],
)
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, library: str, suffix: str, engine: str, extra: str
) -> None:
    for module in ("torch_engine", "openvino_engine", "onnxruntime_engine", "yolo"):
        monkeypatch.delitem(sys.modules, f"consumer.detection.{module}", raising=False)
    missing = (library, "ultralytics") if library == "torch" else (library,)  # which cannot be imported without it
    for module in missing:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    weights = tmp_path / f"model.{suffix}"
    weights.write_bytes(b"never looked at")
    assert f"pip install '.[{extra}]' in a checkout" in problem(weights=weights, engine=engine)


# --- anyone's engine ----------------------------------------------------------------------------------------------


@pytest.fixture
def own_engine(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], str]:
    def name_of(factory: Any) -> str:
        module = types.ModuleType("somebodys")
        module.factory = factory  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "somebodys", module)
        return "somebodys:factory"

    return name_of


def test_an_own_engine_gets_the_settings_and_answers() -> None:
    settings = ModelSettings(engine="tests.stand_ins:null_engine", image_size=96)
    engine = load(settings, BATCHING)
    image = np.full((1, 96, 96, 3), 7, np.uint8)
    assert (engine.model.image_size, engine.max_batch) == ((96, 96), 4)
    np.testing.assert_array_equal(engine.start(image).result()[0], stand_ins.candidates_of(image[0]))


def test_an_own_engine_that_cannot_be_imported_is_named() -> None:
    assert problem(engine="no.such:engine") == (
        "model.engine: no.such:engine: ModuleNotFoundError: No module named 'no'"
    )
    assert "AttributeError" in problem(engine="tests.stand_ins:no_engine")
    assert "TypeError" in problem(engine="tests.stand_ins:CLASS_NAMES")


def test_an_own_factory_that_fails_is_named(own_engine: Callable[[Any], str]) -> None:
    def factory(*_: object) -> None:
        raise ValueError("no licence")

    assert problem(engine=own_engine(factory)) == "model.engine: somebodys:factory: ValueError: no licence"


def test_an_own_factory_may_end_the_process_in_its_own_way(own_engine: Callable[[Any], str]) -> None:
    def factory(*_: object) -> None:
        raise EngineBroken("the device fell off the bus")

    with pytest.raises(EngineBroken):
        load(ModelSettings(engine=own_engine(factory)), BATCHING)


@pytest.mark.parametrize(
    ("attribute", "value", "fact"),
    [
        ("model", None, "whose `model` is no"),
        ("start", None, "no method `start`"),
        ("close", None, "no method `close`"),
        ("places", 0, "whose `places` is 0"),
        ("max_batch", 5, "whose `max_batch` is 5, expected 1 to 4"),
    ],
)
def test_an_own_factory_that_returns_no_engine_is_named(
    own_engine: Callable[[Any], str], attribute: str, value: object, fact: str
) -> None:
    def factory(model: ModelSettings, batching: BatchingSettings) -> Any:
        engine = stand_ins.NullEngine(model, batching)
        setattr(engine, attribute, value)
        return engine

    assert fact in problem(engine=own_engine(factory))
    assert "returned None" in problem(engine=own_engine(lambda *_: None))


# --- the stand-ins ------------------------------------------------------------------------------------------------


def test_swapped_answers_of_a_stand_in_show() -> None:
    engine = load(ModelSettings(engine="tests.stand_ins:null_engine"), BATCHING)
    images = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), dtype=np.uint8)
    answers = engine.start(images).result()
    assert len({answer.tobytes() for answer in answers}) == 4
    assert (answers[..., 2:4] - answers[..., :2] >= 8).all()
    assert (answers[..., :4] >= 0).all()
    assert (answers[..., :4] <= 64).all()
