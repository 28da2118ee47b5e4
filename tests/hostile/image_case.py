"""What is a case of a hostile image, and which good files are the bad ones made from?"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from tests.hostile import files
from tests.hostile.files import HEIGHT, WIDTH, encoded, exif, picture

RESULT, UNDECODABLE, UNSUPPORTED, TOO_MANY, TOO_LARGE = (
    "result",
    "image_undecodable",
    "image_format_unsupported",
    "image_too_many_pixels",
    "image_too_large",
)
BY_CHANCE = frozenset({RESULT, UNDECODABLE, UNSUPPORTED, TOO_MANY, TOO_LARGE})
SEED = 20_261_123
MUTATIONS = 8  # of each good file


@dataclass(frozen=True)
class ImageCase:
    """One file, the name that it pretends to have, and what its job may become; `shape` is (height, width)."""

    name: str
    content: bytes
    outcomes: frozenset[str]
    extension: str = "jpg"
    shape: tuple[int, int] | None = None

    @property
    def key(self) -> str:
        return f"images/{self.name.replace(' ', '-')}.{self.extension}"


def good(name: str, content: bytes, *, shape: tuple[int, int] = (HEIGHT, WIDTH), extension: str = "jpg") -> ImageCase:
    return ImageCase(name, content, frozenset({RESULT}), extension, shape)


def bad(name: str, content: bytes, outcome: str = UNDECODABLE, *, extension: str = "jpg") -> ImageCase:
    return ImageCase(name, content, frozenset({outcome}), extension)


RGB = picture()
GRAY = RGB.convert("L")
ALPHA = Image.merge("RGBA", (*RGB.split(), GRAY))
DEEP = np.asarray(GRAY).astype(np.uint16) << 8
EXIF_6 = files.exif_segment(exif(6))

JPEG = encoded(RGB, "JPEG", quality=90)
PROGRESSIVE = encoded(RGB, "JPEG", quality=90, progressive=True)
PNG = encoded(RGB, "PNG")
WEBP = encoded(RGB, "WEBP", lossless=True)
LOSSY = encoded(RGB, "WEBP", quality=80)
TIFF = encoded(RGB, "TIFF")
BMP = encoded(RGB, "BMP")
GIF = encoded(RGB, "GIF")
FILES = {"jpeg": JPEG, "progressive": PROGRESSIVE, "png": PNG, "webp": WEBP, "lossy": LOSSY, "tiff": TIFF, "bmp": BMP}
