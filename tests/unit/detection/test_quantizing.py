"""Which layers stay in float, do int8 weights run in int8, and do they find what the f32 ones find?"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from consumer.demo.dataset import write_images
from consumer.detection.engine import Engine
from consumer.detection.loading import load
from consumer.errors import SettingsError
from consumer.settings import BatchingSettings, ModelSettings, Settings
from consumer.weighing.quantization import Quantized, make_int8
from tests.models import DENSE_ONNX, STATIC_ONNX

SETTINGS = Settings.model_validate({"images": {"allowed_buckets": ["*"]}})
pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("parts")
    write_images(folder, seed=6, count=30)
    return folder


@pytest.fixture(scope="module")
def made(images: Path) -> Quantized:
    (images / "00000-broken.jpg").write_bytes(b"no image")
    return make_int8(DENSE_ONNX, images / "int8.onnx", [str(images)], SETTINGS, count=24, preset="mixed", force=False)


def run(weights: Path | str, **settings: Any) -> Engine:
    return load(ModelSettings(weights=Path(weights), device="cpu", **settings), BatchingSettings(max_batch=1))


@pytest.fixture(scope="module")
def engine(made: Quantized) -> Iterator[Engine]:
    running = run(made.path, engine="openvino")
    yield running
    running.close()


def test_int8_weights_find_nearly_what_the_f32_ones_find(made: Quantized) -> None:
    """OpenVINO found nothing right in them as NNCF makes them (`make_unsigned`)."""
    assert made.agreement.reference_detections > 5
    assert made.agreement.matched is not None
    assert made.agreement.matched > 0.6


def test_a_broken_image_is_left_out_and_told(made: Quantized) -> None:
    assert [Path(name).name for name in made.left_out] == ["00000-broken.jpg"]


def test_the_file_says_what_it_is_and_was_made_of(made: Quantized) -> None:
    texts = {entry.key: entry.value for entry in onnx.load(made.path).metadata_props}
    assert texts["precision"] == "int8"
    assert len(texts["quantized_from"]) == 64
    assert texts["license"].startswith("AGPL-3.0")


def scales(path: Path | str) -> list[float]:
    graph = onnx.load(path).graph
    names = {node.input[1] for node in graph.node if node.op_type == "QuantizeLinear"}
    return [float(numpy_helper.to_array(one)) for one in graph.initializer if one.name in names and not one.dims]


def test_the_ranges_are_those_of_the_size_at_which_the_weights_will_run(made: Quantized, images: Path) -> None:
    smaller = make_int8(
        DENSE_ONNX,
        images / "smaller.onnx",
        [str(images)],
        SETTINGS,
        image_size=160,
        count=24,
        preset="mixed",
        force=False,
    )

    assert (made.image_size, smaller.image_size) == (320, 160)
    texts = {entry.key: entry.value for entry in onnx.load(smaller.path).metadata_props}
    assert texts["quantized_by"].endswith("images at 160, mixed")
    assert scales(made.path) != pytest.approx(scales(smaller.path), rel=1e-3)


@pytest.mark.parametrize(("weights", "size"), [(DENSE_ONNX, 300), (STATIC_ONNX, 640)])
def test_a_size_that_the_weights_cannot_run_is_refused(images: Path, weights: Path, size: int) -> None:
    with pytest.raises(SettingsError, match=f"model.image_size: {size}"):
        make_int8(
            weights, images / "no.onnx", [str(images)], SETTINGS, image_size=size, count=4, preset="mixed", force=False
        )
    assert not (images / "no.onnx").exists()


def test_auto_runs_int8_weights_in_int8(engine: Engine) -> None:
    assert (engine.model.engine, engine.model.precision) == ("openvino", "int8")
    answer = engine.start(np.zeros((1, 320, 320, 3), np.uint8)).result()
    assert answer.shape == (1, 2100, 6)


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_int8_weights_run_in_nothing_else(made: Quantized, precision: Any) -> None:
    with pytest.raises(SettingsError, match=r"is int8, use int8 or auto"):
        run(made.path, engine="openvino", precision=precision)


def test_int8_demands_such_weights() -> None:
    with pytest.raises(SettingsError, match=r"not quantised; `consumer model quantize` does that"):
        run(DENSE_ONNX, engine="openvino", precision="int8")


def test_weights_that_only_say_int8_are_found_out(tmp_path: Path) -> None:
    model = onnx.load(DENSE_ONNX)
    model.metadata_props.add(key="precision", value="int8")
    onnx.save(model, tmp_path / "said.onnx")
    with pytest.raises(SettingsError, match=r"openvino runs 0 of \d+ convolutions in it"):
        run(tmp_path / "said.onnx", engine="openvino")


def test_int8_weights_are_not_quantised_again(made: Quantized, images: Path) -> None:
    with pytest.raises(SettingsError, match="int8 already"):
        make_int8(Path(made.path), images / "again.onnx", [str(images)], SETTINGS, count=4, preset="mixed", force=False)
