"""Does the recipe lead from rendered parts to weights that can be shipped?"""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from consumer.demo.dataset import write_dataset
from consumer.demo.defects import CLASS_NAMES
from consumer.detection.shipping import ship_onnx, ship_pytorch
from consumer.detection.training import Recipe, measure, train


@pytest.mark.timeout(300)  # half a minute on two idle cores
@pytest.mark.filterwarnings("ignore")  # the trainer's own business
def test_the_recipe_leads_from_rendered_parts_to_weights_without_a_trace_of_the_machine(tmp_path: Path) -> None:
    recipe = Recipe(epochs=1, image_size=64, batch=4)
    described = write_dataset(tmp_path / "dataset", seed=0, counts={"train": 4, "val": 2, "test": 2})
    weights, exported = tmp_path / "parts.pt", tmp_path / "parts.onnx"
    told: list[str] = []

    best = train(described, recipe, tmp_path / "run", told.append)
    ship_pytorch(best, weights, image_size=64)
    ship_onnx(weights, exported, image_size=64, nms_free=True, dynamic=True)

    assert told[0].startswith("epoch 1 of 1: mAP50 ")
    assert set(measure(weights, described, recipe)) <= {"all", *CLASS_NAMES}
    facts = {entry.key: entry.value for entry in onnx.load(exported).metadata_props}
    assert (facts["end2end"], facts["imgsz"], facts["date"]) == ("True", "[64, 64]", "")
    assert str(tmp_path).encode() in best.read_bytes()
    for shipped in (weights, exported):
        assert str(tmp_path).encode() not in shipped.read_bytes()
        assert str(Path(__file__).parents[2]).encode() not in shipped.read_bytes()
