"""THE FLOW: one job → one outcome."""

import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from consumer import __version__
from consumer.batcher import Batcher, Seat
from consumer.budget import ByteBudget, Lease
from consumer.canary import Bucket, Canary
from consumer.detection.engine import Candidates, Model, Shape
from consumer.detection.selection import select
from consumer.errors import Abandoned, Fatal, Rejected, Unavailable
from consumer.images.availability import Availability
from consumer.images.decode import Decoded, decode
from consumer.images.letterbox import letterbox, shape_of
from consumer.images.store import FetchedImage
from consumer.messages import (
    DeadLetter,
    Detection,
    ImageReference,
    InspectedImage,
    Job,
    ModelInfo,
    Outcome,
    Parameters,
    Result,
    ResultMessage,
    Timings,
    Worker,
    result_id,
)
from consumer.metrics import Metrics
from consumer.retry import delays
from consumer.settings import Settings

logger = logging.getLogger(__name__)


class Claim(Protocol):
    """What a job must know of its place in the ledger."""

    @property
    def is_head(self) -> bool: ...

    @property
    def is_dropped(self) -> bool: ...

    @property
    def opened_at(self) -> float: ...

    def take_in_hand(self) -> None:
        """Called between fetch and decoding, from where on an image may end the process; waits for leave. Raises
        Abandoned when the job is not ours any more."""


class Images(Protocol):
    """Where images come from, one attempt a call: images/store.py, images/files.py."""

    def fetch(self, image: ImageReference, *, reserve: Callable[[int], None], timeout: float) -> FetchedImage: ...


@dataclass(slots=True)
class Progress:
    """How far one job has come: when it began each stage, the seconds of those that it ended, attempts to fetch."""

    began: dict[str, float]
    seconds: dict[str, float] = field(default_factory=dict)
    attempts: int = 0

    def begin(self, stage: str) -> None:
        self.began[stage] = time.monotonic()

    def end(self, stage: str) -> None:
        self.seconds[stage] = time.monotonic() - self.began[stage]


@dataclass(frozen=True, slots=True, eq=False)
class Decoding:
    """One image's decoding that runs since `began`, by the monotonic clock."""

    job_id: str
    image: str
    began: float


Observe = Callable[[Job, Claim, Progress], None]
"""Told of each job whose inspection ended, however it did, in the worker's thread."""


class Inspector:
    """Everything a job needs, shared by all worker threads. `inspect` is the whole way of one job."""

    def __init__(
        self,
        settings: Settings,
        model: Model,
        *,
        images: Images,
        availability: Availability,
        batcher: Batcher[Bucket, Candidates],
        canary: Canary,
        metrics: Metrics,
        decode_places: int,
        closing: threading.Event,
        observe: Observe | None = None,
    ) -> None:
        self.model = model
        self.canary = canary
        self._settings = settings
        self._images = images
        self._availability = availability
        self._batcher = batcher
        self._metrics = metrics
        self._closing = closing
        self._observe = observe
        self._decoding: set[Decoding] = set()
        self._decode_places = threading.BoundedSemaphore(decode_places)
        limit = settings.limits.max_in_flight_bytes
        self._budget = ByteBudget(limit, on_change=metrics.in_flight_bytes.set)
        self._class_ids = {name: number for number, name in enumerate(model.class_names)}
        self._worker = Worker(socket.gethostname(), __version__)
        self._model_info = ModelInfo(
            model.name,
            model.sha256,
            model.task,
            model.engine,
            model.precision,
            max(model.image_size),
            shapes=settings.model.shapes,
            decode=settings.images.decode,
        )

    @property
    def decoding(self) -> frozenset[Decoding]:
        """What is being decoded now. From any thread."""
        return frozenset(self._decoding.copy())  # a set's copy is one step of the interpreter

    def inspect(self, job: Job, claim: Claim) -> Outcome:
        """One job, start to end, in blocking calls. Raises Abandoned when the job is not ours any more, Fatal when the
        process must end; whatever else goes wrong is a dead letter."""
        progress = Progress({"queue": claim.opened_at})
        progress.end("queue")
        try:
            return self._inspect(job, claim, progress)
        except Rejected as rejection:
            return self._dead_letter(job, rejection, progress)
        except (Abandoned, Fatal):
            raise
        except Exception as error:
            logger.exception("internal error", extra={"job_id": job.job_id, "image": job.image.uri})
            return self._dead_letter(job, Rejected("internal_error", f"{type(error).__name__}: {error}"), progress)
        finally:
            if self._observe is not None:
                self._observe(job, claim, progress)

    def _inspect(self, job: Job, claim: Claim, progress: Progress) -> Result:
        self._admit(job)
        parameters = self._parameters(job)
        with self._lease(claim) as lease:
            progress.begin("fetch")
            fetched = self._fetch(job, claim, lease, progress)
            progress.end("fetch")
            claim.take_in_hand()
            with self._decode_places:
                self._check(claim)
                decoded = self._decode(job, fetched.content, progress)
                height, width = decoded.height, decoded.width
                image = _inspected(job, fetched, width, height)
                del fetched  # the bytes go before the batch is waited for
                lease.give_back()
                progress.begin("detect")
                shape = self._shape_of(width, height)
                with self._batcher.seat(shape) as seat:
                    placement = letterbox(
                        decoded.pixels, seat.slot, image_size=self.model.image_size, image=(height, width)
                    )
                del decoded
        candidates = self._answer(seat)
        kept = select(candidates, parameters, nms_free=self.model.nms_free)
        detections = self._detections(placement.to_image(kept[:, :4]), kept)
        progress.end("detect")
        return self._result(job, image, parameters, detections, progress)

    # --- before the image -----------------------------------------------------------------------------------------

    def _admit(self, job: Job) -> None:
        bucket = job.image.bucket
        if not self._settings.images.allows(bucket):
            raise Rejected("bucket_not_allowed", f"bucket {bucket} is not in images.allowed_buckets")
        age, limit = _age(job), self._settings.limits.max_job_age
        if limit is not None and age > limit:
            raise Rejected("job_expired", f"the job is {age:.0f} s old, limit {limit:g} s (limits.max_job_age)")

    def _parameters(self, job: Job) -> Parameters:
        asked, default = job.parameters, self._settings.model
        return Parameters(
            confidence=default.confidence if asked.confidence is None else asked.confidence,
            iou=default.iou if asked.iou is None else asked.iou,
            max_detections=asked.max_detections or default.max_detections,
            classes=None if asked.classes is None else tuple(sorted({self._class_id(name) for name in asked.classes})),
        )

    def _class_id(self, name: int | str) -> int:
        number = self._class_ids.get(name, -1) if isinstance(name, str) else name
        if not 0 <= number < len(self.model.class_names):
            raise Rejected("schema_invalid", f"$.parameters.classes: {name!r} is no class of {self.model.name}")
        return number

    # --- the image ------------------------------------------------------------------------------------------------

    def _lease(self, claim: Claim) -> Lease:
        return self._budget.lease(is_urgent=lambda: claim.is_head, check=partial(self._check, claim))

    def _check(self, claim: Claim) -> None:
        if claim.is_dropped:
            raise Abandoned

    def _fetch(self, job: Job, claim: Claim, lease: Lease, progress: Progress) -> FetchedImage:
        """Try until the image is here, is the job's own fault, or is not ours any more."""
        reference = job.image
        failing_for = 0.0  # counts only while the store is known to answer
        answered = False
        waits = delays()
        while True:
            self._check(claim)
            progress.attempts += 1
            tried_at = time.monotonic()
            try:
                fetched = self._images.fetch(reference, reserve=lease.take, timeout=self._settings.limits.job_deadline)
            except Rejected as rejection:
                left = self._grace_left(job, rejection)
                self._wait(claim, lease, min(next(waits), left), rejection.reason)
            except Unavailable as failure:
                self._availability.failed(reference.bucket, failure.code)
                self._wait(claim, lease, next(waits), failure.code)
                # Twice in a row, else the try in which an outage ended would count as if the store had answered.
                answered_before, answered = answered, self._availability.answers_since(reference.bucket, tried_at)
                if answered and answered_before:
                    failing_for += time.monotonic() - tried_at
                    self._give_up_after(failing_for, failure)
            else:
                self._availability.succeeded(reference.bucket)
                return fetched

    def _grace_left(self, job: Job, rejection: Rejected) -> float:
        """Seconds for which a missing image may still arrive, by the age of its record; raises when it may not."""
        left = self._settings.images.not_found_grace - _age(job)
        if rejection.reason != "image_not_found" or left <= 0:
            raise rejection
        return left

    def _give_up_after(self, failing_for: float, cause: Unavailable) -> None:
        limit = self._settings.images.unavailable_after
        if failing_for >= limit:
            fact = f"failing for {failing_for:.0f} s while the store answers, limit {limit:g} s"
            raise Rejected("image_unavailable", f"{cause} ({fact}: images.unavailable_after)", stage="fetch") from cause

    def _wait(self, claim: Claim, lease: Lease, delay: float, reason: str) -> None:
        self._metrics.retries.labels("fetch", reason).inc()
        lease.give_back()
        if self._closing.is_set():
            time.sleep(delay)  # a drain is no reason to ask more often
        else:
            self._closing.wait(delay)
        self._check(claim)

    def _decode(self, job: Job, content: bytes, progress: Progress) -> Decoded:
        progress.begin("decode")
        decoding = Decoding(job.job_id, job.image.uri, progress.began["decode"])
        self._decoding.add(decoding)
        try:
            decoded = decode(content, self._settings.images, image_size=self.model.image_size)
        finally:
            self._decoding.remove(decoding)
        progress.end("decode")
        limit, spent = self._settings.limits.job_deadline, progress.seconds["decode"]
        if spent > limit:
            raise Rejected("deadline_exceeded", f"decoding took {spent:.1f} s, limit {limit:g} s", stage="decode")
        return decoded

    def _shape_of(self, width: int, height: int) -> Shape:
        return shape_of(
            width,
            height,
            image_size=self.model.image_size,
            stride=self.model.stride,
            rectangular=self._settings.model.shapes == "rectangular",
        )

    # --- the boxes ------------------------------------------------------------------------------------------------

    def _answer(self, seat: Seat[Bucket, Candidates]) -> Candidates:
        """The engine's candidates. An image that fails alone is at fault if the canary is answered rightly."""
        try:
            return seat.answer(self._settings.limits.job_deadline)
        except Fatal:
            raise
        except Exception as error:
            self.canary.ask()
            fact = f"the engine fails on this image alone: {type(error).__name__}: {error}"
            raise Rejected("engine_failed", fact, stage="detect") from error

    def _detections(self, boxes: Candidates, kept: Candidates) -> tuple[Detection, ...]:
        names = self.model.class_names
        return tuple(
            Detection(
                class_id=int(number),
                class_name=names[int(number)],
                confidence=round(confidence, 5),
                box=(round(x1, 2), round(y1, 2), round(x2, 2), round(y2, 2)),
            )
            for (x1, y1, x2, y2), confidence, number in zip(
                boxes.tolist(), kept[:, 4].tolist(), kept[:, 5].tolist(), strict=True
            )
        )

    # --- the outcome ----------------------------------------------------------------------------------------------

    def _result(
        self,
        job: Job,
        image: InspectedImage,
        parameters: Parameters,
        detections: tuple[Detection, ...],
        progress: Progress,
    ) -> Result:
        body = ResultMessage(
            schema="inspection.result/1",
            job_id=job.job_id,
            image=image,
            model=self._model_info,
            detections=detections,
            parameters=parameters,
            source=job.source,
            result_id=result_id(job.job_id, image.sha256, self.model.sha256, parameters),
            timings_ms=self._timings(progress),
            worker=self._worker,
            metadata=job.metadata,
        )
        return Result(job, body)

    def _timings(self, progress: Progress) -> Timings:
        seconds = progress.seconds
        seconds["total"] = time.monotonic() - progress.began["queue"]
        for stage, spent in seconds.items():
            self._metrics.stage_seconds.labels(stage).observe(spent)
        return Timings(**{stage: round(spent * 1000, 3) for stage, spent in seconds.items()})

    def _dead_letter(self, job: Job, rejection: Rejected, progress: Progress) -> DeadLetter:
        return DeadLetter(
            record=job.record,
            job_id=job.job_id,
            reason=rejection.reason,
            stage=rejection.stage,
            message=str(rejection),
            error=type(rejection.__cause__ or rejection).__name__,
            attempts=max(1, progress.attempts),
            index=job.index_among_siblings,
        )


def _age(job: Job) -> float:
    """Seconds since the record's timestamp; one without a timestamp is as old as can be."""
    timestamp = job.record.timestamp_ms
    return max(0.0, time.time() - timestamp / 1000) if timestamp > 0 else float("inf")


def _inspected(job: Job, fetched: FetchedImage, width: int, height: int) -> InspectedImage:
    return InspectedImage(
        bucket=job.image.bucket,
        key=job.image.key,
        version_id=fetched.version_id,
        etag=fetched.etag,
        sha256=fetched.sha256,
        bytes=len(fetched.content),
        width=width,
        height=height,
    )
