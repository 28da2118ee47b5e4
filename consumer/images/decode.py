"""The pixels of an image as a person sees it, or the reason why there are none."""

import io
import logging
import warnings
from dataclasses import dataclass
from typing import NoReturn

import cv2
import numpy as np
from numpy.typing import NDArray

# Their import registers them with Pillow, which then need not import all the others. JPEG and PNG are read without it.
from PIL import (  # noqa: F401
    BmpImagePlugin,
    Image,
    TiffImagePlugin,
    WebPImagePlugin,
)

from consumer.errors import Reason, Rejected
from consumer.images.formats import kind_of
from consumer.images.headers import BadHeader, Header, check_tiff, jpeg_header, png_header
from consumer.images.letterbox import Shape, reduction
from consumer.settings import ImageSettings

Pixels = NDArray[np.uint8]

_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}

# Sample formats of TIFF that OpenCV shows as Pillow does. It multiplies colour by alpha in others, or refuses them.
_TIFF_MODES = frozenset({"1", "L", "LA", "P", "RGB", "CMYK", "YCbCr", "I;16", "I;16B", "I;16L"})

# As many images are decoded at once as there are cores: OpenCV's own threads would only fight over them.
cv2.setNumThreads(1)
# What is broken is said in the dead letter.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)
# Pillow's own bomb limit warns, ours rejects.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """Pixels, uint8 [h, w, 3], BGR, C-contiguous, upright; `height` and `width` are the whole image's, which h and w
    may be a half, a quarter or an eighth of."""

    pixels: Pixels
    height: int
    width: int


def decode(content: bytes, limits: ImageSettings, *, image_size: Shape | None = None) -> Decoded:
    """Decode one image, EXIF orientation applied.

    Pixels are what OpenCV's `imdecode(IMREAD_COLOR)` gives, as Ultralytics reads its files: gray is repeated, alpha
    dropped, 16 bits cut to the upper 8, CMYK converted. No pixel is decoded before the header was held against
    `limits`. Where those say `decode: fast`, a JPEG that is to be scaled to `image_size` (height, width) leaves out
    what would be scaled away: libjpeg's smaller inverse DCT.

    Raises `Rejected`: image_format_unsupported (recognised, but not JPEG, MPO, PNG, WebP, BMP or a TIFF of one page and
    usual samples; or animated), image_undecodable (empty, truncated, broken or unknown), image_too_many_pixels.
    """
    width, height, name = _check_header(content, limits)
    by = 1
    if limits.decode == "fast" and name == "JPEG" and image_size is not None:
        by = _reduction(width, height, image_size)
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), _FLAGS[by])
    except cv2.error as error:
        raise _rejected("image_undecodable", f"the image cannot be decoded: {error.err}") from error
    if pixels is None:
        raise _rejected("image_undecodable", f"the image's {len(content)} bytes are truncated or broken")
    expected = -(-height // by), -(-width // by)
    if pixels.shape[:2] != expected:
        height, width = width, height  # as the orientation would have it
        if pixels.shape[1::-1] != expected:
            raise _rejected("image_undecodable", f"the header says {height}x{width}, decoded are {_size(pixels)}")
    return Decoded(np.ascontiguousarray(pixels, dtype=np.uint8), height, width)


def _reduction(width: int, height: int, image_size: Shape) -> int:
    """1 where the smaller image would not tell whether its orientation swapped the sides."""
    sides = (width, height), (height, width)
    by = min(reduction(*turned, image_size=image_size) for turned in sides)
    return 1 if width != height and -(-width // by) == -(-height // by) else by


def _check_header(content: bytes, limits: ImageSettings) -> tuple[int, int, str]:
    """Width and height as stored, and the format, when everything that the header says is allowed."""
    if not content:
        raise _rejected("image_undecodable", "the image has no bytes")
    kind = kind_of(content)
    if kind is None:
        raise _rejected("image_undecodable", f"the first bytes, {content[:8].hex()}, are no known image format's")
    if not kind.is_inspected:
        raise _rejected("image_format_unsupported", f"the image is {kind.name}, not JPEG, PNG, WebP, BMP or TIFF")
    width, height, is_animated = _read_header(content, kind.name)
    if is_animated:
        what = "a TIFF of several pages" if kind.name == "TIFF" else f"an animated {kind.name}"
        raise _rejected("image_format_unsupported", f"the image is {what}")
    if max(width, height) > limits.max_side:
        _reject_size(f"{width}x{height} pixels, limit {limits.max_side} a side (images.max_side)")
    if width * height > limits.max_pixels:
        _reject_size(f"{width}x{height} pixels, limit {limits.max_pixels} in all (images.max_pixels)")
    return width, height, kind.name


def _read_header(content: bytes, name: str) -> Header:
    try:
        match name:
            case "JPEG":
                return jpeg_header(content)
            case "PNG":
                return png_header(content)
            case "TIFF":
                check_tiff(content)
    except BadHeader as error:
        raise _rejected("image_undecodable", f"the image's {name} header {error}") from error
    return _open(content, name)


def _open(content: bytes, name: str) -> Header:
    try:
        image = Image.open(io.BytesIO(content), formats=(name,))
    except Exception as error:  # Pillow lets through whatever its parsers stumble over
        raise _rejected("image_undecodable", f"the image's {name} header is broken or cut short") from error
    if name == "TIFF" and image.mode not in _TIFF_MODES:
        raise _rejected("image_format_unsupported", f"the image is a TIFF with {image.mode} samples")
    return Header(*image.size, is_animated=getattr(image, "is_animated", False))


def _reject_size(fact: str) -> NoReturn:
    raise _rejected("image_too_many_pixels", f"the image has {fact}")


def _rejected(reason: Reason, message: str) -> Rejected:
    return Rejected(reason, message, stage="decode")


def _size(pixels: cv2.typing.MatLike) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"
