"""Records, results and dead letters that the tests of several modules start from."""

from dataclasses import replace
from typing import Any

from msgspec import UNSET, Raw, UnsetType

from consumer.intake import contents_of
from consumer.messages import (
    DeadLetter,
    Detection,
    InspectedImage,
    ModelInfo,
    Parameters,
    Record,
    Result,
    ResultMessage,
    Timings,
    Worker,
    result_id,
)

NATIVE = b'{"schema": "inspection.job/1", "image": {"bucket": "parts", "key": "line-3/0001.jpg"}}'
PARAMETERS = Parameters(confidence=0.25, iou=0.7, max_detections=300, classes=(1, 4))


def a_record(value: bytes | None = NATIVE, **changes: Any) -> Record:
    plain = Record("inspection.jobs", 3, 1041, 1_700_000_000_000, b"camera-7", value, ())
    return replace(plain, **changes)


def a_result(record: Record | None = None, *, detections: int = 1, metadata: Raw | UnsetType = UNSET) -> Result:
    (job,) = contents_of(record or a_record()).jobs
    image = InspectedImage("parts", "line-3/0001.jpg", None, '"e1"', "a" * 64, 81234, 1920, 1080)
    body = ResultMessage(
        schema="inspection.result/1",
        job_id=job.job_id,
        image=image,
        model=ModelInfo("parts", "b" * 64, "detect", "openvino", "f32", 640),
        detections=(Detection(4, "scratch", 0.87512, (10.25, 20.5, 110.0, 220.75)),) * detections,
        parameters=PARAMETERS,
        source=job.source,
        result_id=result_id(job.job_id, image.sha256, "b" * 64, PARAMETERS),
        timings_ms=Timings(queue=0.5, fetch=12.0, decode=8.25, detect=20.0, total=41.5),
        worker=Worker("host-1", "0.1.0"),
        metadata=metadata,
    )
    return Result(job, body)


def a_letter(record: Record | None = None, **changes: Any) -> DeadLetter:
    plain = DeadLetter(record or a_record(), "part-17", "image_not_found", "fetch", "s3://parts/x.jpg is not there")
    return replace(plain, **changes)
