"""How the OpenVINO engine answers, and what stops it before it starts."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumer.detection.engine import Candidates, Engine
from consumer.detection.loading import load
from consumer.errors import SettingsError
from consumer.settings import BatchingSettings, ModelSettings
from tests.models import DENSE_ONNX, PARTS_ONNX, ROOT, STATIC_ONNX

Edit = Callable[[Any], None]


def engine(weights: Path, **settings: Any) -> Engine:
    return load(ModelSettings(weights=weights, **settings), BatchingSettings(max_batch=8))


def noise(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 255, (*shape, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def dense() -> Iterator[Engine]:
    running = engine(DENSE_ONNX, image_size=128, shapes="rectangular")
    yield running
    running.close()


def test_auto_runs_onnx_weights_in_openvino_on_the_cpu_in_f32(dense: Engine) -> None:
    model = dense.model
    assert (model.engine, model.device, model.precision) == ("openvino", "cpu", "f32")
    assert (model.name, model.task, model.stride, model.image_size) == ("parts-dense", "detect", 32, (128, 128))
    assert model.class_names == ("scratch", "dent", "stain", "missing_hole")
    assert (model.nms_free, model.static_batch) == (False, None)


def test_a_dense_head_gives_one_row_per_anchor(dense: Engine) -> None:
    answer = dense.start(noise(1, 96, 128)).result()
    assert answer.shape == (1, 12 * 16 + 6 * 8 + 3 * 4, 6)
    assert answer.dtype == np.float32
    assert (answer[..., 2] > answer[..., 0]).all()
    assert set(np.unique(answer[..., 5])) <= {0, 1, 2, 3}
    assert 0 <= answer[..., 4].min() <= answer[..., 4].max() <= 1


def test_an_nms_free_head_gives_its_best_rows() -> None:
    running = engine(PARTS_ONNX, image_size=128)
    try:
        assert running.model.nms_free
        answer = running.start(noise(1, 128, 128)).result()
        assert answer.shape == (1, 300, 6)
        assert (np.diff(answer[0, :, 4]) <= 0).all()
    finally:
        running.close()


def test_many_images_at_once_are_each_answered_as_if_alone(dense: Engine) -> None:
    images = [noise(1, 64 + 32 * (seed % 3), 128, seed=seed) for seed in range(24)]
    alone = [dense.start(image).result() for image in images]

    futures = [dense.start(image) for image in images]

    for future, expected in zip(futures, alone, strict=True):
        np.testing.assert_array_equal(future.result(), expected)


def test_an_answer_is_not_overwritten_by_later_ones(dense: Engine) -> None:
    first = dense.start(noise(1, 64, 64, seed=1)).result()
    kept = first.copy()
    for seed in range(2, 8):
        dense.start(noise(1, 64, 64, seed=seed)).result()
    np.testing.assert_array_equal(first, kept)


def test_a_failed_inference_is_an_error_of_its_batch_and_of_no_other(dense: Engine) -> None:
    futures: list[Future[Candidates]] = [dense.start(noise(1, side, side)) for side in (64, 640, 64, 640, 64)]
    for future in futures[1::2]:
        with pytest.raises(RuntimeError):
            future.result(timeout=60)
    for future in futures[::2]:
        assert future.result(timeout=60).shape == (1, 84, 6)


def test_static_weights_run_at_their_own_shape() -> None:
    running = engine(STATIC_ONNX, image_size=320)
    try:
        assert (running.model.image_size, running.model.static_batch, running.max_batch) == ((320, 320), 1, 1)
        assert running.start(noise(1, 320, 320)).result().shape == (1, 2100, 6)
    finally:
        running.close()


@pytest.mark.parametrize(
    ("weights", "settings", "key", "fact"),
    [
        (STATIC_ONNX, {"image_size": 640}, "model.image_size", "dynamic=True"),
        (STATIC_ONNX, {"shapes": "rectangular"}, "model.shapes", "dynamic=True"),
        (DENSE_ONNX, {"image_size": 100}, "model.image_size", "100 is not a multiple of the stride"),
        (DENSE_ONNX, {"nms_free": True}, "model.nms_free", "no NMS-free head"),
        (PARTS_ONNX, {"nms_free": False}, "model.nms_free", "only an NMS-free head"),
        (DENSE_ONNX, {"precision": "int8"}, "model.precision", "is not quantised"),
        (PARTS_ONNX, {"image_size": 64}, "model.weights", "cannot run 64x64"),
        (PARTS_ONNX, {"image_size": 256, "shapes": "rectangular"}, "model.weights", "cannot run 32x256"),
    ],
)
def test_what_cannot_be_run_is_named(weights: Path, settings: dict[str, Any], key: str, fact: str) -> None:
    with pytest.raises(SettingsError) as caught:
        engine(weights, **settings)
    message = str(caught.value)
    assert message.startswith(f"{key}: ")
    assert fact in message
    assert "\n" not in message


@pytest.mark.parametrize("precision", ["bf16", "f16"])
def test_a_precision_that_the_cpu_has_not_is_refused_and_one_that_it_has_is_run(precision: str) -> None:
    import openvino as ov

    had = precision.upper() in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if had:
        running = engine(DENSE_ONNX, image_size=64, precision=precision)
        assert running.model.precision == precision
        running.close()
    else:
        with pytest.raises(SettingsError, match=rf"model\.precision: {precision} was asked for, but openvino runs"):
            engine(DENSE_ONNX, image_size=64, precision=precision)


def edit_metadata(**changes: str | None) -> Edit:
    def edit(model: Any) -> None:
        texts = {entry.key: entry.value for entry in model.metadata_props} | changes
        del model.metadata_props[:]
        for key, value in texts.items():
            if value is not None:
                model.metadata_props.add(key=key, value=value)

    return edit


@pytest.mark.parametrize(
    ("edit", "fact"),
    [
        (edit_metadata(names=None), "lacks the metadata of an Ultralytics export"),
        (edit_metadata(names="{0: 'a', 2: 'b'}"), "class ids [0, 2] are not 0 to 1"),
        (edit_metadata(names="__import__('os').getcwd()"), "lacks the metadata of an Ultralytics export"),
        (edit_metadata(stride=None), "lacks the metadata of an Ultralytics export"),
        (edit_metadata(imgsz="many"), "lacks the metadata of an Ultralytics export"),
        (edit_metadata(task="segment"), "made for the task 'segment'"),
        (edit_metadata(channels="1"), "takes 1 channels"),
        (edit_metadata(args="{'nms': True}"), "exported with nms=True"),
        (edit_metadata(names="{0: 'a', 1: 'b'}"), "expected [n, 6, anchors] or [n, k, 6]"),
    ],
)
def test_weights_that_say_the_wrong_thing_are_refused(tmp_path: Path, edit: Edit, fact: str) -> None:
    import onnx

    model = onnx.load(DENSE_ONNX)
    edit(model)
    onnx.save(model, tmp_path / "edited.onnx")
    with pytest.raises(SettingsError) as caught:
        engine(tmp_path / "edited.onnx")
    assert str(caught.value).startswith(f"model.weights: {tmp_path}/edited.onnx ")
    assert fact in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no weights", DENSE_ONNX])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes | Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(content.read_bytes()[:-100_000] if isinstance(content, Path) else content)
    with pytest.raises(SettingsError, match=rf"model\.weights: {damaged} "):
        engine(damaged)


@pytest.mark.thorough
def test_openvino_tells_nobody_and_leaves_nothing_at_home(tmp_path: Path) -> None:
    program = f"""
import json, sys
import numpy as np
from consumer.detection.loading import load
from consumer.settings import BatchingSettings, ModelSettings
engine = load(ModelSettings(weights={str(DENSE_ONNX)!r}, image_size=64), BatchingSettings())
engine.start(np.zeros((1, 64, 64, 3), np.uint8)).result()
print(json.dumps([name for name, module in sys.modules.items() if module]))
"""
    home = tmp_path / "home"
    home.mkdir()
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, check=False)

    assert (done.returncode, done.stderr) == (0, b"")
    imported = json.loads(done.stdout)
    assert not {"openvino_telemetry", "torch", "ultralytics", "onnx"} & set(imported)
    assert list(home.iterdir()) == []
