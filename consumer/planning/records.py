"""How large are the records of an image, and what does it take to make them?"""

import json
import platform

from consumer import __version__
from consumer.detection.engine import Candidates, Model
from consumer.detection.selection import select
from consumer.messages import (
    Detection,
    ImageReference,
    InspectedImage,
    Job,
    ModelInfo,
    Parameters,
    Record,
    Result,
    ResultMessage,
    Timings,
    Worker,
    result_id,
)
from consumer.settings import ModelSettings

JOB_ID = "part-000000017"


def job_of(image: ImageReference) -> bytes:
    """A native job as a program would write it."""
    where = {"bucket": image.bucket, "key": image.key}
    return json.dumps({"schema": "inspection.job/1", "job_id": JOB_ID, "image": where}).encode()


def answer_of(
    asked: ModelSettings, model: Model, image: ImageReference, *, size: tuple[int, int, int], candidates: Candidates
) -> Result:
    """As the inspector makes it. `size`: bytes, width and height; candidates: float32 [k, 6], see `select`; that their
    boxes are the slot's and not the image's changes no size."""
    parameters = Parameters(asked.confidence, asked.iou, asked.max_detections)
    kept = select(candidates, parameters, nms_free=model.nms_free)
    detections = tuple(
        Detection(int(number), model.class_names[int(number)], round(confidence, 5), (x1, y1, x2, y2))
        for x1, y1, x2, y2, confidence, number in kept.astype(float).round(2).tolist()
    )
    record = Record("inspection.jobs", 0, 1_000_000, 1_700_000_000_000, None, None)
    job = Job(record, JOB_ID, image)
    digest = "0" * 64
    body = ResultMessage(
        schema="inspection.result/1",
        job_id=JOB_ID,
        image=InspectedImage(image.bucket, image.key, None, '"0"', digest, *size),
        model=ModelInfo(model.name, model.sha256, model.task, model.engine, model.precision, max(model.image_size)),
        detections=detections,
        parameters=parameters,
        source=job.source,
        result_id=result_id(JOB_ID, digest, model.sha256, parameters),
        timings_ms=Timings(0.125, 12.125, 8.125, 20.125, 41.125),
        worker=Worker(platform.node(), __version__),
    )
    return Result(job, body)
