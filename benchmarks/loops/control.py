"""The control: the naive loop with our engine in the place of `YOLO.predict`, one image or a list at a time.

It separates what the pipeline gives from what the runtime gives.
"""

from pathlib import Path
from typing import Any

import boto3
import cv2
import numpy as np
from botocore.config import Config

from benchmarks.loops.clients import job_of, open_consumer, open_producer, polled
from benchmarks.loops.plain import result_of
from benchmarks.loops.task import Task
from consumer.detection.engine import Candidates, Engine, Pixels
from consumer.detection.loading import load
from consumer.detection.selection import select
from consumer.images.letterbox import letterbox, shape_of
from consumer.messages import Parameters
from consumer.settings import BatchingSettings, ModelSettings

PARAMETERS = Parameters(confidence=0.25, iou=0.7, max_detections=300)


def open_engine(task: Task) -> Engine:
    shapes = "rectangular" if task.rect else "square"
    model = ModelSettings.model_validate(
        {
            "weights": Path(task.onnx),
            "engine": task.engine,
            "precision": task.precision,
            "image_size": task.image_size,
            "shapes": shapes,
        }
    )
    return load(model, BatchingSettings())


class Work:
    """As `people.Work`, with our engine: all images of a list are started, then all answers are waited for."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._engine = open_engine(task)
        kept = Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        self._s3: Any = boto3.client("s3", endpoint_url=task.endpoint_url, region_name="us-east-1", config=kept)

    def results_of(self, jobs: list[dict[str, Any]]) -> list[bytes]:
        started = []
        for job in jobs:
            pixels = self._image_of(job)
            slot = slot_of(pixels, self._engine, rect=self._task.rect)
            placement = letterbox(pixels, slot[0], image_size=self._engine.model.image_size)
            started.append((job, placement, self._engine.start(slot)))
        return [self._result(job, placement, future.result()[0]) for job, placement, future in started]

    def _image_of(self, job: dict[str, Any]) -> Pixels:
        image = job["image"]
        content = self._s3.get_object(Bucket=image["bucket"], Key=image["key"])["Body"].read()
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        return np.asarray(pixels, np.uint8)

    def _result(self, job: dict[str, Any], placement: Any, candidates: Candidates) -> bytes:
        model = self._engine.model
        kept = select(candidates, PARAMETERS, nms_free=model.nms_free)
        rows = np.hstack([placement.to_image(kept[:, :4]), kept[:, 4:]]).tolist()
        return result_of(job, rows, model.class_names)


def slot_of(pixels: Pixels, engine: Engine, *, rect: bool) -> Pixels:
    """An empty batch of one, uint8 [1, h, w, 3], for an image."""
    model = engine.model
    height, width = pixels.shape[:2]
    shape = shape_of(width, height, image_size=model.image_size, stride=model.stride, rectangular=rect)
    return np.empty((1, *shape, 3), np.uint8)


def main() -> None:
    task = Task.of_environment()
    work = Work(task)
    consumer, producer = open_consumer(task), open_producer(task)
    while True:
        messages = polled(consumer, task.batch)
        if not messages:
            continue
        results = work.results_of([job_of(message) for message in messages])
        for message, result in zip(messages, results, strict=True):
            producer.produce(task.results, result, message.key())
        producer.flush()
        consumer.commit(asynchronous=False)


if __name__ == "__main__":
    main()
