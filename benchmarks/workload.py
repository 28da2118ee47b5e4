"""Which images are inspected? Rendered parts and two photographs, the same ones every time."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from consumer.demo.parts import render_part

LINE = 11  # of the demo's production lines; the weights were trained on other ones
COUNT = 20
PHOTOGRAPHS = ("bus.jpg", "zidane.jpg")
QUALITY = 92
SIZES = {"640x480": (640, 480), "1080p": (1920, 1080)}


@dataclass(frozen=True)
class Workload:
    """Images of one size, `png_share` of them PNG, the others JPEG."""

    size: str
    png_share: float = 0.0

    @property
    def name(self) -> str:
        return self.size if not self.png_share else f"{self.size}+{self.png_share:.0%}png".replace("%", "")


def write(workload: Workload, cache: Path) -> Path:
    """The workload's folder of image files below `cache`; it is made once."""
    folder = cache / workload.name
    if not folder.is_dir():
        making = folder.with_suffix(".making")
        making.mkdir(parents=True, exist_ok=True)
        for number in range(COUNT):
            is_png = int((number + 1) * workload.png_share) > int(number * workload.png_share)
            pixels = _pixels(number, SIZES[workload.size])
            (making / f"{number:02d}.{'png' if is_png else 'jpg'}").write_bytes(_encoded(pixels, is_png=is_png))
        making.rename(folder)
    return folder


def _pixels(number: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    photographs = _photographs()
    if number >= len(photographs):
        return render_part(LINE, number, size=size).image
    photograph = cv2.imread(str(photographs[number]))
    if photograph is None:
        raise OSError(f"{photographs[number]} cannot be read")
    return _cut(photograph, size)


def _cut(image: cv2.typing.MatLike, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The middle of a photograph in the shape of `size` (width, height)."""
    width, height = size
    gain = max(width / image.shape[1], height / image.shape[0])
    scaled = cv2.resize(image, None, fx=gain, fy=gain, interpolation=cv2.INTER_AREA if gain < 1 else cv2.INTER_CUBIC)
    top, left = (scaled.shape[0] - height) // 2, (scaled.shape[1] - width) // 2
    return np.ascontiguousarray(scaled[top : top + height, left : left + width], dtype=np.uint8)


def _photographs() -> list[Path]:
    """Ultralytics ships them; without it all images are rendered."""
    found = importlib.util.find_spec("ultralytics")
    if found is None or found.origin is None:
        return []
    return [path for name in PHOTOGRAPHS if (path := Path(found.origin).parent / "assets" / name).is_file()]


def _encoded(pixels: NDArray[np.uint8], *, is_png: bool) -> bytes:
    options = [] if is_png else [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    return bytes(cv2.imencode(".png" if is_png else ".jpg", pixels, options)[1])
