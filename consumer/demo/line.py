"""How are the parts of the demo rendered, on all cores, while other things start?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2

from consumer.cores import available_cores
from consumer.demo.parts import Defect, Image, encode, render_part

PICTURES = 200  # parts that the page shows
_THUMBNAIL_SIDE, _THUMBNAIL_QUALITY = 480, 75


@dataclass(frozen=True)
class DrawnPart:
    """A part as a JPEG file, and the whole truth about it. `thumbnail` is a smaller JPEG for the page; empty for the
    parts that it does not show."""

    name: str
    file: Path
    defects: tuple[Defect, ...]
    thumbnail: bytes


@contextlib.contextmanager
def rendering(folder: Path, *, seed: int, count: int) -> Iterator[list[Future[DrawnPart]]]:
    """Render parts 0 to `count` - 1 of the line `seed` into `folder` while the `with` lasts.

    What is not begun at its end is dropped. NumPy and OpenCV leave the interpreter free while they work.
    """
    cv2.setNumThreads(1)  # the parts are what runs side by side
    with ThreadPoolExecutor(available_cores() + 1, thread_name_prefix="line") as pool:
        try:
            yield [pool.submit(_render, folder, seed, index) for index in range(count)]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _render(folder: Path, seed: int, index: int) -> DrawnPart:
    part = render_part(seed, index)
    file = folder / f"{index:05d}.jpg"
    file.write_bytes(encode(part, "jpg"))
    return DrawnPart(file.name, file, part.defects, _thumbnail(part.image) if index < PICTURES else b"")


def _thumbnail(image: Image) -> bytes:
    scale = min(1.0, _THUMBNAIL_SIDE / max(image.shape))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _THUMBNAIL_QUALITY])[1].tobytes()
