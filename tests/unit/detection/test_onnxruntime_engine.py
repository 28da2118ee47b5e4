"""How the ONNX Runtime engine answers on its CPU provider, and what the other providers are told."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from consumer.demo.parts import render_part
from consumer.detection import onnx_graph, providers
from consumer.detection.engine import Candidates, Engine
from consumer.detection.loading import load
from consumer.detection.onnxruntime_engine import OnnxRuntimeEngine
from consumer.detection.providers import Profile
from consumer.detection.selection import select
from consumer.errors import EngineBroken, OutOfDeviceMemory, SettingsError
from consumer.images.letterbox import letterbox
from consumer.messages import Parameters
from consumer.settings import BatchingSettings, ModelSettings
from tests.models import DENSE_ONNX, DENSE_PT, PARTS_ONNX, ROOT, STATIC_ONNX

CPU, CUDA, TENSORRT = (providers.NAMES[name] for name in ("cpu", "cuda", "tensorrt"))
PROFILE = Profile.of((640, 640), 32, batch=16, is_static=False, is_square=False)


def engine(weights: Path, name: str = "onnxruntime", **settings: Any) -> Engine:
    return load(ModelSettings(weights=weights, engine=name, **settings), BatchingSettings(max_batch=8))


def noise(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 255, (*shape, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def dense() -> Iterator[Engine]:
    running = engine(DENSE_ONNX, image_size=128, shapes="rectangular")
    yield running
    running.close()


def test_it_says_what_it_runs(dense: Engine) -> None:
    model = dense.model
    assert (model.engine, model.device, model.precision) == ("onnxruntime", "cpu", "f32")
    assert (model.name, model.task, model.stride, model.image_size) == ("parts-dense", "detect", 32, (128, 128))
    assert model.class_names == ("scratch", "dent", "stain", "missing_hole")
    assert (model.nms_free, model.static_batch, dense.max_batch) == (False, None, 1)


@pytest.mark.thorough
@pytest.mark.parametrize("weights", [DENSE_ONNX, PARTS_ONNX], ids=["dense", "nms-free"])
@pytest.mark.parametrize("shapes", ["square", "rectangular"])
def test_it_finds_what_openvino_finds(weights: Path, shapes: str) -> None:
    assert_agreement(weights, weights, "openvino", shapes)


@pytest.mark.thorough
def test_it_finds_what_torch_finds() -> None:
    assert_agreement(DENSE_ONNX, DENSE_PT, "torch", "square")


def assert_agreement(weights: Path, their_weights: Path, name: str, shapes: str) -> None:
    ours = engine(weights, image_size=480, shapes=shapes)
    theirs = engine(their_weights, name, image_size=480, shapes=shapes, device="cpu")
    pixels = np.zeros((1, 480 if shapes == "square" else 384, 480, 3), np.uint8)
    part = render_part(4, 7).image
    letterbox(part if shapes == "square" else part[80:560], pixels[0], image_size=(480, 480))
    try:
        found, expected = (
            select(running.start(pixels).result()[0], Parameters(0.05, 0.7, 300), nms_free=ours.model.nms_free)
            for running in (ours, theirs)
        )
    finally:
        ours.close()
        theirs.close()
    assert len(expected)
    np.testing.assert_allclose(found[:, :4], expected[:, :4], atol=0.01)
    np.testing.assert_allclose(found[:, 4:], expected[:, 4:], atol=1e-4)


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
    assert first.flags.owndata


def test_a_failed_inference_is_an_error_of_its_batch_and_of_no_other(dense: Engine) -> None:
    futures: list[Future[Candidates]] = [dense.start(noise(1, side, side)) for side in (64, 70, 64, 70, 64)]
    for future in futures[1::2]:
        with pytest.raises(Exception, match="ONNXRuntimeError"):
            future.result(timeout=60)
    for future in futures[::2]:
        assert future.result(timeout=60).shape == (1, 84, 6)


def test_static_weights_run_at_their_own_shape_and_batch(tmp_path: Path) -> None:
    running = engine(STATIC_ONNX, image_size=320)
    assert (running.model.image_size, running.model.static_batch, running.max_batch) == ((320, 320), 1, 1)
    assert running.start(noise(1, 320, 320)).result().shape == (1, 2100, 6)
    running.close()

    of_four = onnx_graph.closed(onnx.load(DENSE_ONNX), 4, 96, 96)
    onnx.save(of_four, tmp_path / "four.onnx")
    running = engine(tmp_path / "four.onnx")
    assert (running.model.static_batch, running.max_batch) == (4, 4)
    images = noise(4, 96, 96)
    whole = running.start(images).result()
    np.testing.assert_allclose(running.start(images[:3]).result(), whole[:3], atol=1e-3)
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
        (DENSE_ONNX, {"precision": "f16"}, "model.precision", "f16 is not offered by onnxruntime's provider cpu"),
        (DENSE_ONNX, {"precision": "bf16"}, "model.precision", "bf16 is not offered by onnxruntime's provider cpu"),
        (PARTS_ONNX, {"image_size": 64}, "model.weights", "cannot run 64x64"),
        (PARTS_ONNX, {"image_size": 256, "shapes": "rectangular"}, "model.weights", "cannot run 32x256"),
    ],
)
def test_what_cannot_be_run_is_named(
    weights: Path, settings: dict[str, Any], key: str, fact: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SettingsError) as caught:
        engine(weights, **settings)
    message = str(caught.value)
    assert message.startswith(f"{key}: ")
    assert fact in message
    assert "\n" not in message
    assert tuple(capfd.readouterr()) == ("", "")


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"names": None}, "lacks the metadata of an Ultralytics export"),
        ({"imgsz": "many"}, "lacks the metadata of an Ultralytics export"),
        ({"task": "segment"}, "made for the task 'segment'"),
        ({"args": "{'nms': True}"}, "exported with nms=True"),
        ({"names": "{0: 'a', 1: 'b'}"}, "puts out [1, 8, 2100], expected [n, 6, anchors] or [n, k, 6]"),
    ],
)
def test_weights_that_say_the_wrong_thing_are_refused(
    tmp_path: Path, changes: dict[str, str | None], fact: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        engine(edited(tmp_path, **changes))
    assert str(caught.value).startswith(f"model.weights: {tmp_path}/edited.onnx ")
    assert fact in str(caught.value)


def edited(folder: Path, **changes: str | None) -> Path:
    model = onnx.load(DENSE_ONNX)
    texts = {entry.key: entry.value for entry in model.metadata_props} | changes
    del model.metadata_props[:]
    for key, value in texts.items():
        if value is not None:
            model.metadata_props.add(key=key, value=value)
    onnx.save(model, folder / "edited.onnx")
    return folder / "edited.onnx"


def test_quantised_weights_are_int8_and_nothing_else(tmp_path: Path) -> None:
    weights = edited(tmp_path, precision="int8")
    with pytest.raises(SettingsError, match=r"model\.precision: f32, but"):
        engine(weights, precision="f32")
    for asked in ("auto", "int8"):
        running = engine(weights, precision=asked, image_size=64)
        running.close()
        assert running.model.precision == "int8"


@pytest.mark.parametrize("content", [b"", b"no weights", DENSE_ONNX])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes | Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(content.read_bytes()[:-100_000] if isinstance(content, Path) else content)
    with pytest.raises(SettingsError, match=rf"model\.weights: {damaged} "):
        engine(damaged)


def test_weights_that_were_exported_in_halves_are_refused(tmp_path: Path) -> None:
    model = onnx.load(DENSE_ONNX)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    onnx.save(model, tmp_path / "half.onnx")
    with pytest.raises(SettingsError, match="half=True"):
        engine(tmp_path / "half.onnx")


@pytest.mark.thorough
def test_it_needs_neither_torch_nor_openvino_tells_nobody_and_leaves_nothing_at_home(tmp_path: Path) -> None:
    program = f"""
import json, sys
import numpy as np
from consumer.detection.loading import load
from consumer.settings import BatchingSettings, ModelSettings
engine = load(ModelSettings(weights={str(DENSE_ONNX)!r}, engine="onnxruntime", image_size=64), BatchingSettings())
engine.start(np.zeros((1, 64, 64, 3), np.uint8)).result()
print(json.dumps([name for name, module in sys.modules.items() if module]))
"""
    home = tmp_path / "home"
    home.mkdir()
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, check=False)

    assert (done.returncode, done.stderr) == (0, b"")
    assert not {"torch", "ultralytics", "openvino"} & set(json.loads(done.stdout))
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("FAIL : Failed to allocate memory for requested buffer of size 4096", OutOfDeviceMemory),
        ("CUDA failure 2: out of memory ; GPU=0", OutOfDeviceMemory),
        ("CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED", OutOfDeviceMemory),
        ("CUDA failure 700: an illegal memory access was encountered ; GPU=0", EngineBroken),
        ("CUDA failure 999: unknown error ; GPU=0", EngineBroken),
        ("INVALID_ARGUMENT : Got invalid dimensions", ValueError),
    ],
)
def test_what_a_device_says_is_sorted(dense: Engine, said: str, expected: type[Exception]) -> None:
    class Failing:
        def run(self, *_: object) -> None:
            raise ValueError(said)

    running = OnnxRuntimeEngine(Failing(), dense.model, places=1, max_batch=1)
    with pytest.raises(expected):
        running.start(noise(1, 64, 64)).result()
    running.close()


# --- what the other providers are told ----------------------------------------------------------------------------


def test_two_distributions_at_once_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnxruntime", "onnxruntime_gpu"):
        folder = tmp_path / f"{name}-9.9.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 9.9\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SettingsError, match=r"onnxruntime 9\.9 and onnxruntime-gpu 9\.9 are both installed"):
        engine(DENSE_ONNX)


def test_a_provider_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(SettingsError, match=r"model\.provider: tensorrt is not in this onnxruntime, which has cpu;"):
        engine(DENSE_ONNX, provider="tensorrt")


@pytest.mark.parametrize(
    ("provider", "got", "assigned", "fact"),
    [
        ("cuda", [CPU], [], "could not start it and would run in CPUExecutionProvider"),
        ("tensorrt", [CUDA, CPU], [(CUDA, "Conv")], "could not start it"),
        ("cuda", [CUDA, CPU], [(CUDA, "Conv"), (CPU, "TopK"), (CPU, "Conv")], "leave Conv, TopK of these weights"),
        ("tensorrt", [TENSORRT, CUDA, CPU], [(CUDA, "Conv")], "takes no node"),
        ("cuda", [CUDA, CPU], [(CUDA, "Conv"), (CPU, "Shape"), (CPU, "Gather")], None),
        ("tensorrt", [TENSORRT, CUDA, CPU], [(TENSORRT, "Conv"), (CUDA, "TopK")], None),
        ("cpu", [CPU], [(CPU, "Conv")], None),
    ],
)
def test_work_that_went_elsewhere_stops_the_process(
    provider: str, got: list[str], assigned: list[tuple[str, str]], fact: str | None
) -> None:
    if fact is None:
        providers.check_placement(provider, got, assigned)
    else:
        with pytest.raises(SettingsError, match=rf"^model\.provider: {provider} .*{fact}"):
            providers.check_placement(provider, got, assigned)


def test_a_real_session_on_the_cpu_is_seen_to_be_none_on_cuda() -> None:
    import onnxruntime

    from consumer.detection import onnxruntime_engine as module

    session = onnxruntime.InferenceSession(str(DENSE_ONNX), module._options(), providers=[CPU])
    assigned = list(module._assigned(session))
    providers.check_placement("cpu", session.get_providers(), assigned)
    with pytest.raises(SettingsError, match="would leave Conv"):
        providers.check_placement("cuda", [CUDA], assigned)


def test_tensorrt_is_told_every_shape_before_the_first_image(tmp_path: Path) -> None:
    told = providers.tensorrt_options("f16", PROFILE, "pixels", tmp_path)
    assert told["trt_profile_min_shapes"] == "pixels:1x32x32x3"
    assert told["trt_profile_opt_shapes"] == told["trt_profile_max_shapes"] == "pixels:16x640x640x3"
    assert (told["trt_fp16_enable"], told["trt_int8_enable"]) == ("1", "0")
    assert told["trt_engine_cache_path"] == told["trt_timing_cache_path"] == str(tmp_path)
    assert all(isinstance(value, str) for value in told.values())
    int8 = providers.tensorrt_options("int8", PROFILE, "pixels", tmp_path)
    assert (int8["trt_fp16_enable"], int8["trt_int8_enable"]) == ("0", "1")


def test_profiles_are_as_narrow_as_what_may_come() -> None:
    def least(*, is_static: bool, is_square: bool) -> tuple[int, int, int]:
        return Profile.of((384, 640), 32, batch=8, is_static=is_static, is_square=is_square).least

    assert least(is_static=True, is_square=True) == (8, 384, 640)
    assert least(is_static=False, is_square=True) == (1, 384, 640)
    assert least(is_static=False, is_square=False) == (1, 32, 32)


def test_providers_come_without_the_cpu_and_on_the_device_that_was_asked() -> None:
    assert providers.providers("cpu", 0, {}) == [(CPU, {})]
    for name, first in (("cuda", CUDA), ("tensorrt", TENSORRT)):
        given = providers.providers(name, 1, {})
        assert given[0][0] == first
        assert CPU not in dict(given)
        assert {options["device_id"] for _, options in given} == {"1"}


def test_any_other_fact_is_another_cache() -> None:
    facts = {"weights": "a", "device": "H100", "onnxruntime": "1.32", "precision": "f16", "shapes": PROFILE.most}
    key = providers.cache_key(facts)
    assert key == providers.cache_key(dict(reversed(facts.items())))
    assert all(providers.cache_key(facts | {name: "another"}) != key for name in facts)


def test_a_machine_without_a_driver_is_named() -> None:
    with pytest.raises(SettingsError, match=r"model\.device: cuda, but there is no driver"):
        providers.cuda_device(0, "libno_such_driver.so")
    assert providers.tensorrt_version(["libno_such.so"]) == ""


@pytest.mark.parametrize("precision", ["f32", "f16"])
def test_int8_on_cuda_would_be_floats_and_is_refused(precision: str) -> None:
    providers.check_precision("cuda", precision)
    providers.check_precision("tensorrt", "int8")
    with pytest.raises(SettingsError, match="int8 is not offered by onnxruntime's provider cuda, only f32, f16"):
        providers.check_precision("cuda", "int8")


def test_in_f16_convolutions_are_halved_and_boxes_are_not() -> None:
    """The CPU's provider runs it, by casts: the graph is right, whatever the speed."""
    import onnxruntime

    graph = onnx_graph.closed(onnx.load(DENSE_ONNX), 1, 96, 96)
    whole, half = (
        onnxruntime.InferenceSession(
            onnx_graph.with_pixels_in_and_rows_out(made, nms_free=False).SerializeToString(), providers=[CPU]
        ).run(None, {onnx_graph.PIXELS: noise(1, 96, 96)})[0]
        for made in (graph, onnx_graph.in_f16(graph))
    )
    np.testing.assert_allclose(half[..., :4], whole[..., :4], atol=1.0)
    np.testing.assert_allclose(half[..., 4], whole[..., 4], atol=0.01)
    assert np.abs(half - whole).max() > 0
    assert (half[..., :4].astype(np.float16) != half[..., :4]).any()  # finer than float16
