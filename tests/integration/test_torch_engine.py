"""How `.pt` weights are read, run in torch, and converted for OpenVINO."""

import json
import logging
import pickle
import subprocess
import sys
import threading
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumer.detection.conversion import cache_folder, converted
from consumer.detection.engine import Engine
from consumer.detection.loading import load
from consumer.detection.weights import find
from consumer.errors import EngineBroken, OutOfDeviceMemory, SettingsError
from consumer.settings import BatchingSettings, ModelSettings
from tests.models import DENSE_PT, PARTS_PT, ROOT

# The order of sums depends on the batch in torch's convolutions; nothing else may.
SAME: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-3}


def settings(weights: Path, **others: Any) -> ModelSettings:
    return ModelSettings(weights=weights, **{"engine": "torch", "device": "cpu", "image_size": 128, **others})


def engine(weights: Path, **others: Any) -> Engine:
    return load(settings(weights, **others), BatchingSettings(max_batch=8))


def noise(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 255, (*shape, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def dense() -> Iterator[Engine]:
    running = engine(DENSE_PT)
    yield running
    running.close()


def test_weights_say_what_they_are(dense: Engine) -> None:
    model = dense.model
    assert (model.engine, model.device, model.precision) == ("torch", "cpu", "f32")
    assert (model.name, model.task, model.stride, model.image_size) == ("parts-dense", "detect", 32, (128, 128))
    assert model.class_names == ("scratch", "dent", "stain", "missing_hole")
    assert (model.nms_free, model.static_batch, dense.places, dense.max_batch) == (False, None, 1, 8)


def test_without_an_image_size_the_weights_own_is_taken() -> None:
    running = engine(DENSE_PT, image_size=None)
    running.close()
    assert running.model.image_size == (320, 320)


def test_an_image_is_answered_alike_alone_and_among_any_neighbours(dense: Engine) -> None:
    images = noise(8, 96, 128)
    together = dense.start(images).result()
    assert together.shape == (8, 12 * 16 + 6 * 8 + 3 * 4, 6)
    assert together.dtype == np.float32
    for index in range(8):
        alone = dense.start(images[index : index + 1]).result()[0]
        beside_others = dense.start(np.stack([images[index], 255 - images[0]])).result()[0]
        for answer in (alone, beside_others):
            np.testing.assert_allclose(answer[:, :5], together[index, :, :5], **SAME)


def test_start_returns_before_the_answer_and_from_a_thread_of_its_own(dense: Engine) -> None:
    names = []
    future = dense.start(noise(8, 128, 128))
    future.add_done_callback(lambda _: names.append(threading.current_thread().name))
    future.result()
    dense.start(noise(1, 32, 32)).result()  # a callback runs after its waiters are woken
    assert names[0].startswith("torch")


def test_an_answer_is_not_overwritten_by_later_ones(dense: Engine) -> None:
    first = dense.start(noise(1, 64, 64, seed=1)).result()
    kept = first.copy()
    for seed in range(2, 8):
        dense.start(noise(1, 64, 64, seed=seed)).result()
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    ("weights", "asked", "had"),
    [(PARTS_PT, "auto", True), (PARTS_PT, True, True), (PARTS_PT, False, False), (DENSE_PT, "auto", False)],
)
def test_nms_free_chooses_the_head(weights: Path, asked: Any, had: bool) -> None:
    running = engine(weights, nms_free=asked)
    answer = running.start(noise(1, 128, 128)).result()
    running.close()
    assert running.model.nms_free == had
    assert answer.shape == (1, 300 if had else 336, 6)


def test_an_nms_free_head_gives_as_many_rows_as_detections_are_allowed() -> None:
    running = engine(PARTS_PT, max_detections=320)
    answer = running.start(noise(1, 128, 128)).result()
    running.close()
    assert answer.shape == (1, 320, 6)


def test_bf16_is_what_the_layers_really_run_in_and_boxes_stay_precise(dense: Engine) -> None:
    running = engine(DENSE_PT, precision="bf16")
    images = noise(1, 128, 128)
    answer, expected = running.start(images).result(), dense.start(images).result()
    running.close()
    assert running.model.precision == "bf16"
    assert np.abs(answer[..., :4] - expected[..., :4]).max() > 0
    # Decoded in bf16, boxes near pixel 128 would jump by 1.
    assert len(np.unique(answer[..., 0])) > 0.9 * answer.shape[1]


@pytest.mark.parametrize(
    ("others", "fact"),
    [
        ({"precision": "f16"}, "model.precision: f16 is not offered by torch on cpu, only f32, bf16"),
        ({"precision": "int8"}, "model.precision: int8 is not offered by torch on cpu, only f32, bf16"),
        ({"nms_free": True}, "model.nms_free: true, but"),
        ({"image_size": 100}, "model.image_size: 100 is not a multiple of the stride of parts-dense.pt, 32"),
        ({"device": "cuda:63"}, "model.device: cuda:63 is not there, torch sees"),
    ],
)
def test_what_cannot_be_run_is_named(others: dict[str, Any], fact: str) -> None:
    with pytest.raises(SettingsError) as caught:
        engine(DENSE_PT, **others)
    assert str(caught.value).startswith(fact)


def test_a_batch_that_does_not_fit_on_the_device_is_told_from_other_failures() -> None:
    import torch

    from consumer.detection.torch_engine import TorchEngine

    class Hungry(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if len(images) > 2:
                raise torch.cuda.OutOfMemoryError("tried to allocate 80 GiB")
            raise ValueError("something else")

    model = engine(DENSE_PT).model
    hungry = TorchEngine(Hungry(), model, max_batch=8)
    with pytest.raises(OutOfDeviceMemory, match="4 images do not fit on cpu: tried to allocate 80 GiB"):
        hungry.start(noise(4, 32, 32)).result()
    with pytest.raises(ValueError, match="something else"):
        hungry.start(noise(1, 32, 32)).result()
    hungry.close()


class Touch:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self._path,)


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path: Path, container: str) -> None:
    touched, hostile = tmp_path / "touched", tmp_path / "hostile.pt"
    content = pickle.dumps({"model": Touch(touched)}, protocol=2)
    if container == "legacy":
        hostile.write_bytes(content)
    else:
        with zipfile.ZipFile(hostile, "w") as archive:
            archive.writestr("hostile/data.pkl", content)
            archive.writestr("hostile/version", "3\n")
            archive.writestr("hostile/byteorder", "little")

    with pytest.raises(SettingsError, match=rf"model\.weights: {hostile} cannot be loaded: "):
        engine(hostile)

    assert not touched.exists()
    pickle.loads(content)
    assert touched.exists(), "the pickle is not hostile, the test proves nothing"


@pytest.mark.parametrize("content", [b"", b"no weights", 100_000])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes | int) -> None:
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(content if isinstance(content, bytes) else DENSE_PT.read_bytes()[:content])
    with pytest.raises(SettingsError) as caught:
        engine(damaged)
    assert str(caught.value).startswith(f"model.weights: {damaged} cannot be loaded: ")
    assert "\n" not in str(caught.value)


def test_another_task_is_refused_by_name(tmp_path: Path) -> None:
    import torch

    from consumer.detection import yolo

    network: Any = yolo.read(find(settings(DENSE_PT)))
    network.task = "segment"
    torch.save({"model": network}, tmp_path / "segment.pt")
    with pytest.raises(SettingsError, match=r"segment\.pt is made for the task 'segment', only detect can be run"):
        engine(tmp_path / "segment.pt")


def test_warnings_of_ultralytics_go_where_ours_go(caplog: pytest.LogCaptureFixture) -> None:
    from consumer.detection import yolo

    yolo.prepare()
    from ultralytics.utils import LOGGER

    with caplog.at_level(logging.INFO):
        LOGGER.info("a banner")
        LOGGER.warning("a warning")
    assert caplog.messages == ["a warning"]
    assert LOGGER.handlers == []


# --- conversion ---------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_folder()


def test_weights_are_converted_once_and_a_damaged_conversion_again(cache: Path) -> None:
    wanted = settings(DENSE_PT, engine="openvino")
    first = converted(find(wanted), wanted)
    made_at = first.stat().st_mtime_ns
    assert converted(find(wanted), wanted).stat().st_mtime_ns == made_at
    assert list(cache.iterdir()) == [first]

    first.write_bytes(first.read_bytes()[:-1000])
    second = converted(find(wanted), wanted)
    running = load(wanted, BatchingSettings())
    running.close()
    assert list(cache.iterdir()) == [second]
    assert (running.model.name, running.model.sha256) == ("parts-dense", find(wanted).sha256)

    for changed in ({"image_size": 64}, {"nms_free": False}):
        other = settings(DENSE_PT, engine="openvino", **changed)
        assert converted(find(other), other) != second


@pytest.mark.parametrize(("asked", "rows"), [("auto", 300), (True, 300), (False, 336)])
def test_a_conversion_has_the_head_that_is_asked_for(cache: Path, asked: Any, rows: int) -> None:
    running = engine(PARTS_PT, engine="openvino", nms_free=asked)
    answer = running.start(noise(1, 128, 128)).result()
    running.close()
    assert answer.shape == (1, rows, 6)


def test_a_cache_that_others_can_write_is_refused(cache: Path) -> None:
    cache.chmod(0o777)
    with pytest.raises(SettingsError, match="is not ours alone to write"):
        cache_folder()


def test_static_weights_of_many_images_are_filled_up(tmp_path: Path) -> None:
    from consumer.detection import yolo

    yolo.prepare()
    from ultralytics.models.yolo.model import YOLO

    copy = tmp_path / "four.pt"
    copy.write_bytes(DENSE_PT.read_bytes())
    with warnings.catch_warnings(action="ignore"):
        exported = YOLO(str(copy)).export(format="onnx", batch=4, imgsz=[64, 96], simplify=False)
    running = load(ModelSettings(weights=Path(exported)), BatchingSettings(max_batch=3))
    images = noise(3, 64, 96)
    together, alone = running.start(images).result(), running.start(images[1:2]).result()
    running.close()
    assert (running.model.image_size, running.model.static_batch, running.max_batch) == ((64, 96), 4, 3)
    assert (together.shape, alone.shape) == ((3, 126, 6), (1, 126, 6))
    np.testing.assert_allclose(together[1, :, :5], alone[0, :, :5], **SAME)


@pytest.mark.slow
def test_two_processes_convert_at_once_and_nothing_is_left_anywhere(tmp_path: Path) -> None:
    """Both start on an empty cache and an empty home; both run; one file remains, and not a word was printed."""
    program = f"""
import json, logging
logging.basicConfig(level=logging.INFO)
import numpy as np
from consumer.detection.loading import load
from consumer.settings import BatchingSettings, ModelSettings
for engine in ("torch", "openvino"):
    model = ModelSettings(weights={str(DENSE_PT)!r}, engine=engine, device="cpu", image_size=64)
    running = load(model, BatchingSettings())
    answer = running.start(np.zeros((1, 64, 64, 3), np.uint8)).result()
    running.close()
print(json.dumps(answer.shape))
"""
    folders = {name: tmp_path / name for name in ("home", "cache", "tmp")}
    for folder in folders.values():
        folder.mkdir()
    environment = {
        "HOME": str(folders["home"]),
        "XDG_CACHE_HOME": str(folders["cache"]),
        "TMPDIR": str(folders["tmp"]),
        "PATH": "/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    ends = [process.communicate(timeout=100) for process in processes]

    assert [process.returncode for process in processes] == [0, 0], ends
    assert [(json.loads(output), errors) for output, errors in ends] == [([1, 84, 6], b"")] * 2
    assert list(folders["home"].iterdir()) == []
    assert list(folders["tmp"].iterdir()) == []
    (cache,) = folders["cache"].iterdir()
    assert [path.suffix for path in cache.iterdir()] == [".onnx"]


@pytest.mark.parametrize(("flag", "value"), [("SAFE_LOAD", False), ("AUTOINSTALL", True), ("ONLINE", True)])
def test_ultralytics_imported_before_it_was_made_safe_is_a_bug(
    monkeypatch: pytest.MonkeyPatch, flag: str, value: object
) -> None:
    from consumer.detection import yolo

    yolo.prepare()
    monkeypatch.setattr(f"ultralytics.utils.{flag}", value)
    with pytest.raises(RuntimeError, match="imported before"):
        yolo.prepare()


# --- a device that is lost ----------------------------------------------------------------------------------------


def failing_engine(like: Engine, error: Exception) -> Engine:
    """One whose network raises what torch raises on a device that fails."""
    import torch

    from consumer.detection.torch_engine import TorchEngine

    class Failing(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise error

    return TorchEngine(Failing(), like.model, max_batch=8)


@pytest.mark.parametrize("kind", ["AcceleratorError", "RuntimeError"])
@pytest.mark.parametrize(
    "text",
    ["device-side assert triggered", "an illegal memory access was encountered", "uncorrectable ECC error encountered"],
)
def test_a_lost_device_is_no_images_fault(dense: Engine, kind: str, text: str) -> None:
    import torch

    raised = getattr(torch, kind, RuntimeError)(f"CUDA error: {text}\nCompile with `TORCH_USE_CUDA_DSA` ...")
    lost = failing_engine(dense, raised)
    with pytest.raises(EngineBroken, match=f"cpu is lost to this process: .*CUDA error: {text}"):
        lost.start(noise(1, 64, 64)).result()
    lost.close()


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA error: invalid configuration argument"), ValueError("an illegal memory access")]
)
def test_other_errors_may_be_the_images(dense: Engine, error: Exception) -> None:
    failing = failing_engine(dense, error)
    with pytest.raises(type(error)) as caught:
        failing.start(noise(1, 64, 64)).result()
    assert caught.value is error
    failing.close()
