"""Which images does a plan reckon with? A person's own, or parts that are rendered in the size that was named."""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np

from consumer.demo.parts import Part, encode, render_part
from consumer.errors import Rejected, SettingsError
from consumer.images.named import NamedImages
from consumer.messages import ImageReference
from consumer.settings import ImageSettings, Settings

MOST = 20  # of a person's images
RENDERED = 3
LARGEST = 1920, 1080  # that is rendered in one piece: rendering takes 40 bytes of memory a pixel
SIZES = {"1080p": (1920, 1080)}
KEY = "line-3/camera-7/part-000000017.jpg"

Size = tuple[int, int]  # width, height


@dataclass(frozen=True, slots=True)
class Sample:
    """An image's bytes; `name` is a person's, `image` what a job would name, `fetch_seconds` the CPU that its GET took,
    None where there was none."""

    name: str
    image: ImageReference
    content: bytes
    fetch_seconds: float | None = None


def size_of_name(name: str, limits: ImageSettings) -> Size:
    """Of `1080p` or `640x480`. Raises SettingsError, for what a consumer with these limits would reject too."""
    matched = re.fullmatch(r"(\d{1,6})x(\d{1,6})", name)
    if name not in SIZES and matched is None:
        raise SettingsError(f"--image: {name!r} is no size; 640x480, 1080p and any WIDTHxHEIGHT are")
    width, height = SIZES[name] if matched is None else (int(matched[1]), int(matched[2]))
    if min(width, height) < 32:
        raise SettingsError(f"--image: {width}x{height} is less than 32 pixels a side")
    if max(width, height) > limits.max_side:
        raise SettingsError(f"--image: {width}x{height}, limit {limits.max_side} a side (images.max_side)")
    if width * height > limits.max_pixels:
        raise SettingsError(f"--image: {width}x{height}, limit {limits.max_pixels} pixels (images.max_pixels)")
    return width, height


def rendered_samples(size: Size) -> list[Sample]:
    """Parts of the demo's line as JPEG of quality 92: the grain of a sensor, not noise."""
    image = ImageReference("parts", KEY)
    return [Sample(f"part {number}", image, _rendered(size, number)) for number in range(RENDERED)]


def named_samples(settings: Settings, names: Iterable[str]) -> list[Sample]:
    """The first images that the names stand for: files, folders, patterns, s3://bucket/key. Raises SettingsError."""
    sources = NamedImages(settings.s3, settings.images)
    try:
        samples = [_fetched(sources, image) for image in islice(sources.references(names), MOST)]
    except Rejected as rejection:
        raise SettingsError(f"--images: {rejection}") from rejection
    if not samples:
        raise SettingsError("--images: no image is named")
    return samples


def _rendered(size: Size, number: int) -> bytes:
    """A larger picture is several of the largest side by side."""
    width, height = size
    part = render_part(17, number, size=(min(width, LARGEST[0]), min(height, LARGEST[1])))
    repeats = -(-height // part.image.shape[0]), -(-width // part.image.shape[1]), 1
    tiled = np.ascontiguousarray(np.tile(part.image, repeats)[:height, :width])
    return encode(Part(tiled, part.defects), "jpg")


def _fetched(sources: NamedImages, image: ImageReference) -> Sample:
    """One in S3 is fetched twice: the first GET opens the connection."""

    def fetch() -> bytes:
        return sources.fetch(image, reserve=lambda _: None, timeout=60).content

    if not image.bucket:
        return Sample(image.uri, ImageReference("parts", KEY), fetch())
    fetch()
    begun = time.process_time()
    content = fetch()
    return Sample(image.uri, image, content, time.process_time() - begun)
