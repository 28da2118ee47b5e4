"""What would the consumer say of these images? The very way of a job, for files and objects that a person names."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import msgspec

from consumer.cores import available_cores
from consumer.detection.engine import Model
from consumer.errors import Rejected, SettingsError, Unavailable
from consumer.images.availability import Availability
from consumer.images.decode import Pixels, decode
from consumer.images.drawing import drawn, encoded
from consumer.images.named import NamedImages
from consumer.inspector import Inspector
from consumer.messages import (
    DeadLetter,
    ImageReference,
    Job,
    JobParameters,
    Outcome,
    Record,
    Result,
    ResultMessage,
    dead_letter_of,
)
from consumer.metrics import Metrics
from consumer.settings import Settings
from consumer.station import open_inspector

WINDOW = 64  # images that are asked for ahead of the one that is told next
PATIENCE = 10.0  # a person waits: an object that fails for so long is given up


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asked for: the names of images, and parameters in place of the `model` section's. `picture` is the
    suffix of a file format if pictures are wanted, `besides` is where they are put, which no folder's files are taken
    from; `is_one` says that there must be no second image."""

    names: Iterable[str]
    confidence: float | None = None
    iou: float | None = None
    max_detections: int | None = None
    classes: tuple[str, ...] | None = None
    picture: str | None = None
    besides: Path | None = None
    is_one: bool = False


class Rejection(msgspec.Struct, frozen=True):
    """Why an image has no result, in the words of a dead letter."""

    image: str
    reason: str
    stage: str
    message: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of one image; `picture` is an image file's bytes."""

    image: ImageReference
    outcome: Outcome
    picture: bytes | None = None

    @property
    def told(self) -> ResultMessage | Rejection:
        """What a program may read, encodable whatever the file's name."""
        match self.outcome:
            case Result(body=body):
                image = msgspec.structs.replace(body.image, key=readable(body.image.key))
                return msgspec.structs.replace(body, image=image)
            case DeadLetter() as letter:
                return Rejection(readable(self.image.uri), letter.reason, letter.stage, readable(letter.message))


def with_weights(settings: Settings, weights: Path | None) -> Settings:
    """The settings with other weights, which the digest of theirs does not bind."""
    if weights is None:
        return settings
    model = settings.model.model_copy(update={"weights": weights, "sha256": None})
    return settings.model_copy(update={"model": model})


def check(settings: Settings, asked: Asked) -> Generator[Checked]:
    """Inspect the images, as many at once as the engine likes, and yield each in order. Close it to stop.

    Images of any bucket may be named, and nothing is waited for that a stream of jobs would wait for: a missing image
    is missing. Raises SettingsError (weights, credentials, a bucket that does not exist, a class that the model does
    not know, nothing or too much named) or Unavailable.
    """
    settings = _for_a_person(settings)
    sources = NamedImages(settings.s3, settings.images, besides=asked.besides)
    images = _first_looked_at(sources.references(asked.names), asked)
    closing = threading.Event()
    with (
        open_inspector(
            settings,
            images=sources,
            availability=Availability(lambda _: None, interval=0),  # so PATIENCE counts from the first failure
            metrics=Metrics(),
            closing=closing,
        ) as inspector,
        _pool(available_cores(), "picture", closing) as artists,
        _pool(WINDOW, "worker", closing) as workers,
    ):
        wanted = (asked.confidence, asked.iou, asked.max_detections, _classes(asked.classes, inspector.model))
        parameters = JobParameters(*wanted)
        examiner = _Examiner(settings, inspector, sources, parameters, asked.picture, artists, closing)
        yield from _in_order(workers, examiner, images)


def _for_a_person(settings: Settings) -> Settings:
    patience = min(PATIENCE, settings.images.unavailable_after)
    anything = {"allowed_buckets": ("*",), "not_found_grace": 0.0, "unavailable_after": patience}
    images = settings.images.model_copy(update=anything)
    limits = settings.limits.model_copy(update={"max_job_age": None})
    return settings.model_copy(update={"images": images, "limits": limits})


def _first_looked_at(images: Iterator[ImageReference], asked: Asked) -> Iterator[ImageReference]:
    """The same images; what is wrong with the first two is said before the weights are loaded."""
    first = list(islice(images, 2))
    if not first:
        raise SettingsError("no image is named")
    if asked.is_one and len(first) > 1:
        raise SettingsError(f"pictures of several images need a folder: {first[0].uri} and {first[1].uri} are named")
    return chain(first, images)


@dataclass(slots=True)
class _Claim:
    """The place of an image among the others, as the inspector wants to know it."""

    closing: threading.Event
    is_head: bool = False  # what holds bytes never waits for another image here
    opened_at: float = field(default_factory=time.monotonic)

    @property
    def is_dropped(self) -> bool:
        return self.closing.is_set()

    def take_in_hand(self) -> None:
        """Whose image it is that ends the process is plain to whoever named it."""


@dataclass(frozen=True, slots=True)
class _Examiner:
    """What looks at one image after the other, from many threads."""

    settings: Settings
    inspector: Inspector
    sources: NamedImages
    parameters: JobParameters
    picture: str | None
    artists: ThreadPoolExecutor
    closing: threading.Event

    def examine(self, number: int, image: ImageReference) -> Checked:
        record = Record("", 0, number, time.time_ns() // 1_000_000, None, None)
        outcome = self.inspector.inspect(Job(record, readable(image.uri), image, self.parameters), _Claim(self.closing))
        if self.picture is None or isinstance(outcome, DeadLetter):
            return Checked(image, outcome)
        try:
            # A few threads draw: OpenCV keeps several megabytes for each that has ever written text.
            return Checked(image, outcome, self.artists.submit(self._draw, outcome, self.picture).result())
        except Rejected as rejection:
            return Checked(image, dead_letter_of(outcome, rejection.reason, rejection.stage, str(rejection)))

    def _draw(self, result: Result, suffix: str) -> bytes:
        return encoded(drawn(self._pixels(result), result.body.detections), suffix)

    def _pixels(self, result: Result) -> Pixels:
        """Of the image that was inspected, fetched anew: the bytes of all in the window would fill the memory."""
        image = result.job.image
        try:
            fetched = self.sources.fetch(image, reserve=lambda _: None, timeout=self.settings.limits.job_deadline)
        except Unavailable as failure:
            raise Rejected("image_unavailable", str(failure), stage="fetch") from failure
        if fetched.sha256 != result.body.image.sha256:
            raise Rejected("image_changed", f"image {image.uri} changed before it was drawn", stage="fetch")
        return decode(fetched.content, self.settings.images).pixels


def _classes(names: tuple[str, ...] | None, model: Model) -> tuple[int | str, ...] | None:
    """Names as the model has them, else ids; an unknown one stops everything rather than each image."""
    known = model.class_names
    for name in names or ():
        if name not in known and not (name.isdecimal() and int(name) < len(known)):
            raise SettingsError(f"{name!r} is no class of {model.name}, which knows {', '.join(known)}")
    return names and tuple(name if name in known else int(name) for name in names)


@contextlib.contextmanager
def _pool(threads: int, name: str, closing: threading.Event) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    try:
        yield pool
    finally:
        closing.set()
        pool.shutdown(wait=False, cancel_futures=True)


def _in_order(pool: ThreadPoolExecutor, examiner: _Examiner, images: Iterable[ImageReference]) -> Iterator[Checked]:
    waiting: deque[Future[Checked]] = deque()
    for number, image in enumerate(images):
        waiting.append(pool.submit(examiner.examine, number, image))
        if len(waiting) >= WINDOW:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def readable(name: str) -> str:
    """A file's name as text that can be encoded: what is no UTF-8 in it is replaced."""
    return name.encode(errors="surrogateescape").decode(errors="replace")
