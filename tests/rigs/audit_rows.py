"""Audits for tests, written by the auditor's own parts into a folder: jobs, results, dead letters and manifests."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl

from consumer.audit.columns import JOBS_SCHEMA, OUTCOMES_SCHEMA
from consumer.audit.manifest import File, Manifest, Signer, begun, extended, to_json
from consumer.audit.names import Folder, day_of, file_name
from consumer.audit.parquet import Extent, to_parquet
from consumer.audit.rows import dead_letter_rows, job_rows, result_rows
from consumer.messages import (
    DeadLetter,
    Detection,
    ImageReference,
    InspectedImage,
    Job,
    Message,
    ModelInfo,
    Parameters,
    Record,
    Result,
    ResultMessage,
    Timings,
    Worker,
    encode_dead_letter,
    encode_result,
    result_id,
)

JOBS, RESULTS, DEAD_LETTERS = "inspection.jobs", "inspection.results", "inspection.dead-letters"
START = datetime(2026, 3, 1, 8, tzinfo=UTC)
MODEL = ModelInfo("parts-yolo26n", "5" * 64, "detect", "openvino", "f32", 640)
CLASSES = ("dent", "hole", "scratch")

Build = Callable[[Sequence[Record]], pl.DataFrame]


def a_job_record(
    partition: int, offset: int, at: datetime, *, metadata: str = "", job_id: str | None = None, topic: str = JOBS
) -> Record:
    """A native job of `line-{partition}/{offset}.jpg`, on the jobs topic."""
    name = job_id or f"part-{partition}-{offset}"
    said = f', "metadata": {metadata}' if metadata else f', "metadata": {{"line": {partition}, "shift": "early"}}'
    value = (
        f'{{"schema": "inspection.job/1", "job_id": "{name}", '
        f'"image": "s3://parts/line-{partition}/{offset:06d}.jpg"{said}}}'
    )
    return Record(topic, partition, offset, _ms(at), f"line-{partition}".encode(), value.encode())


def a_result_of(
    job: Record,
    *,
    detections: Iterable[Detection] | None = None,
    index: int = 0,
    image: ImageReference | None = None,
    sha256: str | None = None,
) -> Message:
    """What a consumer would produce for this job; without `detections` they follow from the offset."""
    from consumer.intake import contents_of

    one: Job = contents_of(job).jobs[index]
    image = image or one.image
    digest = sha256 or hashlib.sha256(image.uri.encode()).hexdigest()
    parameters = Parameters(0.25, 0.7, 300)
    body = ResultMessage(
        schema="inspection.result/1",
        job_id=one.job_id,
        image=InspectedImage(image.bucket, image.key, None, f'"{digest[:32]}"', digest, 71_000, 640, 480),
        model=MODEL,
        detections=tuple(_detections(job.offset) if detections is None else detections),
        parameters=parameters,
        source=one.source,
        result_id=result_id(one.job_id, digest, MODEL.sha256, parameters),
        timings_ms=Timings(1.5, 3.25, 2.0, 20.5, 30.0),
        worker=Worker(f"replica-{job.partition}", "0.1.0"),
        metadata=one.metadata,
    )
    return encode_result(Result(one, body))


def a_dead_letter_of(job: Record, *, index: int | None = None) -> Message:
    from consumer.intake import contents_of

    one: Job = contents_of(job).jobs[index or 0]
    letter = DeadLetter(
        job, one.job_id, "image_not_found", "fetch", f"image {one.image.uri} does not exist", index=index
    )
    return encode_dead_letter(letter)


def lying(message: Message, topic: str, partition: int, offset: int, at: datetime) -> Record:
    """The outcome as a record of its topic."""
    return Record(topic, partition, offset, _ms(at), message.key, message.value, message.headers)


def write_audit(
    folder: Path,
    *,
    jobs: int,
    partitions: int = 2,
    per_file: int = 100,
    start: datetime = START,
    step: timedelta = timedelta(seconds=1),
    dead_every: int = 0,
    per_transaction: int = 10,
    latency: timedelta = timedelta(milliseconds=300),
    signer: Signer | None = None,
    without: Sequence[tuple[int, int]] = (),
    twice: Sequence[tuple[int, int]] = (),
) -> None:
    """`jobs` jobs a partition, `step` apart, each with its outcome; every `dead_every`-th (0: none) is a dead letter.

    Behind every `per_transaction` outcomes of a topic one offset is left out, as a transaction's marker takes it.
    `without` and `twice` name jobs (partition, offset) with no outcome and with two.
    """
    for partition in range(partitions):
        records = [a_job_record(partition, offset, start + offset * step) for offset in range(jobs)]
        write_files(folder, records, JOBS_SCHEMA, job_rows, per_file=per_file, signer=signer)
        outcomes: dict[str, list[Record]] = {RESULTS: [], DEAD_LETTERS: []}
        for job in records:
            place = (partition, job.offset)
            is_dead = dead_every > 0 and job.offset % dead_every == dead_every - 1
            topic = DEAD_LETTERS if is_dead else RESULTS
            for _ in range(0 if place in without else 2 if place in twice else 1):
                lies = outcomes[topic]
                offset = len(lies) + len(lies) // per_transaction
                message = a_dead_letter_of(job) if is_dead else a_result_of(job)
                lies.append(lying(message, topic, partition, offset, start + job.offset * step + latency))
        write_files(folder, outcomes[RESULTS], OUTCOMES_SCHEMA, result_rows, per_file=per_file, signer=signer)
        write_files(folder, outcomes[DEAD_LETTERS], OUTCOMES_SCHEMA, dead_letter_rows, per_file=per_file, signer=signer)


def write_files(
    folder: Path,
    records: Sequence[Record],
    schema: str,
    build: Build,
    *,
    per_file: int = 100,
    signer: Signer | None = None,
    begin: int = 0,
) -> None:
    """The files and manifests of one partition's records, as the auditor cuts them: at a later day, and at so many."""
    manifest: Manifest | None = None
    for part in _cut(records, per_file):
        first, last = part[0], part[-1]
        day = Folder(first.topic, day_of(first.timestamp_ms), first.partition)
        extent = Extent(schema, first.topic, first.partition, begin, last.offset + 1, len(part))
        content = to_parquet(build(part), extent, writer="test")
        (folder / day.path).mkdir(parents=True, exist_ok=True)
        (folder / day.file(first.offset)).write_bytes(content)
        name = file_name(first.topic, first.partition, first.offset)
        file = File(name, begin, last.offset + 1, len(part), len(content), hashlib.sha256(content).hexdigest())
        if manifest is None or manifest.date != day.date.isoformat():
            manifest = begun(day, after=manifest)
        manifest = extended(manifest, file, signer)
        (folder / day.manifest).write_bytes(to_json(manifest))
        begin = last.offset + 1


def _cut(records: Sequence[Record], per_file: int) -> Iterable[Sequence[Record]]:
    cuts = [0]
    for number, (before, record) in enumerate(pairwise(records), start=1):
        if number - cuts[-1] >= per_file or day_of(record.timestamp_ms) > day_of(before.timestamp_ms):
            cuts.append(number)
    return [records[begin:end] for begin, end in pairwise([*cuts, len(records)]) if end > begin]


def _detections(offset: int) -> list[Detection]:
    """None for every third, else one or two; confidences go round from 0.25 to 0.99."""
    count = offset % 3
    return [
        Detection(
            (offset + number) % len(CLASSES),
            CLASSES[(offset + number) % len(CLASSES)],
            round(0.25 + (offset * 7 + number * 31) % 75 / 100, 5),
            (10.0 + number * 100, 20.0, 90.5 + number * 100, 120.25),
        )
        for number in range(count)
    ]


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
