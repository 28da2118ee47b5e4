"""The pixels of an image as a person sees it, or the reason why there are none."""

import io
import logging
import warnings
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
from consumer.settings import ImageSettings

Pixels = NDArray[np.uint8]

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


def decode(content: bytes, limits: ImageSettings) -> Pixels:
    """Decode one image: uint8 [height, width, 3], BGR, C-contiguous, EXIF orientation applied.

    Pixels are what OpenCV's `imdecode(IMREAD_COLOR)` gives, as Ultralytics reads its files: gray is repeated, alpha
    dropped, 16 bits cut to the upper 8, CMYK converted. No pixel is decoded before the header was held against
    `limits`.

    Raises `Rejected`: image_format_unsupported (recognised, but not JPEG, MPO, PNG, WebP, BMP or a TIFF of one page and
    usual samples; or animated), image_undecodable (empty, truncated, broken or unknown), image_too_many_pixels.
    """
    width, height = _check_header(content, limits)
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise _rejected("image_undecodable", f"the image cannot be decoded: {error.err}") from error
    if pixels is None:
        raise _rejected("image_undecodable", f"the image's {len(content)} bytes are truncated or broken")
    if sorted(pixels.shape[:2]) != sorted((width, height)):  # orientation may have swapped the sides
        raise _rejected("image_undecodable", f"the header says {width}x{height}, decoded are {_size(pixels)}")
    return np.ascontiguousarray(pixels, dtype=np.uint8)


def _check_header(content: bytes, limits: ImageSettings) -> tuple[int, int]:
    """Width and height as stored, when everything that the header says is allowed."""
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
    return width, height


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
