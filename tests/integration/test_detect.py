"""Does `consumer detect` say what `consumer run` would publish for the same bytes?"""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from consumer.demo.parts import encode, render_part
from consumer.images.availability import Availability
from consumer.images.store import ImageStore
from consumer.messages import ImageReference, Job, Record, Result
from consumer.metrics import Metrics
from consumer.settings import Settings
from consumer.station import open_inspector
from tests.models import PARTS_ONNX, ROOT
from tests.rigs.s3 import S3Server

pytestmark = pytest.mark.s3

SAME = ("detections", "parameters", "model")


@dataclass(frozen=True)
class Claim:
    is_head = True
    is_dropped = False
    opened_at = time.monotonic()

    def take_in_hand(self) -> None:
        """Nobody else is to know."""


def test_files_and_objects_are_detected_as_the_consumer_does(
    s3: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in s3.environment.items():
        monkeypatch.setenv(name, text)
    keys = ["parts/0.jpg", "1.jpg", "2.jpg"]
    for index, key in enumerate(keys):
        content = encode(render_part(4, index), "jpg")
        s3.put(bucket, key, content)
        (tmp_path / key).parent.mkdir(exist_ok=True)
        (tmp_path / key).write_bytes(content)
    settings = {
        "s3": {"endpoint_url": s3.endpoint_url},
        "images": {"allowed_buckets": [bucket]},
        "model": {"weights": str(PARTS_ONNX), "confidence": 0.1},
    }
    published = [body(result) for result in consumed(Settings.model_validate(settings), bucket, keys)]
    assert sum(len(line["detections"]) for line in published) > 2

    settings["images"] = {"allowed_buckets": ["another"]}  # a person may name any
    objects = [f"s3://{bucket}/{key}" for key in keys]
    told = detect(tmp_path, settings, *keys, *objects, f"s3://{bucket}/missing.jpg")

    *found, missing = told
    for line, expected in zip(found, published * 2, strict=True):
        assert {name: line[name] for name in SAME} == {name: expected[name] for name in SAME}
        assert line.keys() == expected.keys()
        assert line["image"]["sha256"] == expected["image"]["sha256"]
    assert [line["image"] for line in found[3:]] == [line["image"] for line in published]
    assert (missing["image"], missing["reason"]) == (f"s3://{bucket}/missing.jpg", "image_not_found")


def consumed(settings: Settings, bucket: str, keys: list[str]) -> list[Result]:
    """What the inspector of a consumer with these settings answers, job by job."""
    store = ImageStore(settings.s3, settings.images)
    availability, closing = Availability(store.probe), threading.Event()
    with open_inspector(
        settings, images=store, availability=availability, metrics=Metrics(), closing=closing
    ) as inspector:
        results = []
        for offset, key in enumerate(keys):
            record = Record("inspection.jobs", 0, offset, 0, None, None)
            result = inspector.inspect(Job(record, key, ImageReference(bucket, key)), Claim())
            assert isinstance(result, Result), result
            results.append(result)
    return results


def body(result: Result) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(msgspec.json.encode(result.body))
    return line


def detect(folder: Path, settings: dict[str, Any], *images: str) -> list[dict[str, Any]]:
    """The lines of `consumer detect --json`; one of the images is bad."""
    (folder / "settings.yaml").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "consumer", "detect", "--json", *images]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    return [json.loads(line) for line in done.stdout.splitlines()]
