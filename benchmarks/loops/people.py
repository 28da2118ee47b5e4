"""What does anybody write around `YOLO.predict`? The naive loop and all peers do this same work."""

import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

# No update checks, no installations at run time: they have no place in a timed program.
os.environ.update({"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"})

import boto3
import cv2
import numpy as np
import torch
from botocore.config import Config
from ultralytics.models.yolo.model import YOLO

from benchmarks.loops.plain import result_of
from benchmarks.loops.task import Task


class Work:
    """Fetches with boto3, decodes with OpenCV and predicts with Ultralytics, as its manual shows."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._model: Any = YOLO(task.weights)
        self.predict([np.zeros((480, 640, 3), np.uint8)])
        # Ultralytics takes one thread less than there are cores: with two cores half of what can be had.
        torch.set_num_threads(task.threads)

    @cached_property
    def _s3(self) -> Any:
        kept = Config(
            s3={"addressing_style": "path"},
            max_pool_connections=32,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        return boto3.client("s3", endpoint_url=self._task.endpoint_url, region_name="us-east-1", config=kept)

    def image_of(self, job: dict[str, Any]) -> Any:
        """uint8 [h, w, 3] BGR of a job's image."""
        image = job["image"]
        content = self._s3.get_object(Bucket=image["bucket"], Key=image["key"])["Body"].read()
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)

    def predict(self, images: Sequence[Any]) -> list[Any]:
        """Ultralytics' result of each image, in one call, with the NMS-free head that our .onnx has."""
        task = self._task
        results: list[Any] = self._model.predict(
            list(images), imgsz=task.image_size, rect=task.rect, nms=False, device="cpu", verbose=False
        )
        return results

    def results_of(self, jobs: Sequence[dict[str, Any]]) -> list[bytes]:
        """The whole work on jobs: a result's bytes for each."""
        found = self.predict([self.image_of(job) for job in jobs])
        names = list(self._model.names.values())
        return [result_of(job, one.boxes.data.tolist(), names) for job, one in zip(jobs, found, strict=True)]
