"""The whole way with trained weights: parts in S3, jobs on Kafka, and the defects that were drawn are found."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from consumer.demo.parts import Part, encode, render_part
from tests.conftest import CreateTopics, StartConsumer
from tests.rigs.jobs import job, settings_for
from tests.rigs.kafka import Kafka
from tests.rigs.outcomes import OutcomeReader, judge
from tests.rigs.s3 import S3Server

pytestmark = [pytest.mark.kafka, pytest.mark.s3, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]
# An NMS-free head in squares, and a dense one in shapes that follow the image.
MODELS = {
    "yolo26n-square": {"weights": ROOT / "consumer/demo/weights/parts-yolo26n.onnx", "shapes": "square"},
    "dense-rectangular": {"weights": ROOT / "tests/weights/parts-dense.onnx", "shapes": "rectangular"},
}
SEED = 20_261  # a line that no training saw
PARTS = 40
TIMES = 3


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_drawn_defects_are_found_and_one_image_has_one_answer_whatever_its_neighbours(
    kafka: Kafka, s3: S3Server, bucket: str, topics: CreateTopics, start_consumer: StartConsumer, model: dict[str, Any]
) -> None:
    made = topics(partitions=4)
    parts = {f"line/{number}.jpg": render_part(SEED, number) for number in range(PARTS)}
    for key, part in parts.items():
        s3.put(bucket, key, encode(part, "jpg"))
    keys = [
        key
        for turn in range(TIMES)
        for key in sorted(parts, key=lambda key: (len(key) * 7919 + int(key[5:-4]) * (31 + turn)) % 97)
    ]
    sources = made.publish([job(bucket, key) for key in keys])
    chosen = {**model, "engine": "auto", "device": "cpu", "weights": str(model["weights"])}
    consumer = start_consumer(settings_for(made, s3, bucket, model=chosen), environment=s3.environment)
    with OutcomeReader(kafka.bootstrap_servers, made.outcomes) as reader:
        seen = reader.read_count(len(keys), within=150)
    assert judge(sources, seen).is_clean
    assert consumer.metric("inspection_model_info", engine="openvino", precision="f32", device="cpu") == 1
    answers: dict[str, list[Any]] = {}
    for outcome in seen:
        result = json.loads(outcome.value or b"null")
        answers.setdefault(result["image"]["key"], []).append(result["detections"])
    assert {key: len(detections) for key, detections in answers.items()} == dict.fromkeys(parts, TIMES)
    assert all(detections == all_[0] for all_ in answers.values() for detections in all_)
    drawn = sum(len(part.defects) for part in parts.values())
    found = sum(_found(part, answers[key][0]) for key, part in parts.items())
    claimed = sum(len(detections[0]) for detections in answers.values())
    assert drawn > PARTS / 2
    assert found >= 0.8 * drawn
    assert claimed <= 1.5 * drawn


def _found(part: Part, detections: list[dict[str, Any]]) -> int:
    """How many of the part's defects have a detection of their class on at least half of the common area."""
    return sum(
        any(d["class_name"] == defect.class_name and _overlap(d["box"], defect.box) >= 0.5 for d in detections)
        for defect in part.defects
    )


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return common / (sum(areas) - common)
