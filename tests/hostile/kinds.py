"""Which files are no plain picture in three colours, or not what their name says?"""

import random
import struct
from collections.abc import Iterator

import cv2
import numpy as np

from tests.hostile import files
from tests.hostile.files import bmp, chunk, encoded, picture, png, tiff
from tests.hostile.image_case import (
    ALPHA,
    DEEP,
    FILES,
    GIF,
    GRAY,
    JPEG,
    PNG,
    PROGRESSIVE,
    RGB,
    SEED,
    TOO_MANY,
    UNSUPPORTED,
    ImageCase,
    bad,
    good,
)

# --- not what the name says ---


def misnamed() -> Iterator[ImageCase]:
    for name, content in FILES.items():
        for extension in ("gif", "txt"):
            yield good(f"{name} as {extension}", content, extension=extension)
    yield bad("gif as jpg", GIF, UNSUPPORTED)
    yield bad("avif as jpg", encoded(RGB, "AVIF"), UNSUPPORTED)
    yield bad("jpeg 2000 as jpg", encoded(RGB, "JPEG2000"), UNSUPPORTED)
    yield bad("icon as png", encoded(RGB, "ICO"), UNSUPPORTED, extension="png")
    yield bad("pdf as jpg", encoded(RGB, "PDF"), UNSUPPORTED)
    yield bad("page as jpg", b"<!DOCTYPE html><html><body>Sign in</body></html>", UNSUPPORTED)
    yield bad("drawing as png", b'<svg xmlns="http://www.w3.org/2000/svg"/>', UNSUPPORTED, extension="png")
    yield bad("error as jpg", b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', UNSUPPORTED)
    yield bad("zip as jpg", b"PK\x03\x04" + bytes(64), UNSUPPORTED)
    yield bad("heic as jpg", b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", UNSUPPORTED)
    yield bad("nothing", b"")
    yield bad("one byte", b"\xff")
    yield bad("zeros", bytes(4096))
    yield bad("noise", random.Random(SEED).randbytes(4096))


# --- more than one picture ---


def animated() -> Iterator[ImageCase]:
    other = [GRAY.convert("RGB")]
    yield bad("animated gif", encoded(RGB, "GIF", save_all=True, append_images=other), UNSUPPORTED, extension="gif")
    yield bad("animated png", encoded(RGB, "PNG", save_all=True, append_images=other), UNSUPPORTED, extension="png")
    hidden = encoded(RGB, "PNG", save_all=True, append_images=other, default_image=True)
    yield bad("animated png beside its picture", hidden, UNSUPPORTED, extension="png")
    yield bad("animated webp", encoded(RGB, "WEBP", save_all=True, append_images=other), UNSUPPORTED, extension="webp")
    yield bad("tiff of pages", encoded(RGB, "TIFF", save_all=True, append_images=other), UNSUPPORTED, extension="tif")
    round_and_round = tiff(files.gray_tags(64, 64), bytes(4096), following=8)
    yield good("tiff whose pages go round", round_and_round, shape=(64, 64), extension="tif")
    lone = encoded(RGB, "WEBP", lossless=True, save_all=True)
    yield good("animation of one picture", lone, extension="webp")
    control = chunk(b"acTL", struct.pack(">II", 1, 0)) + chunk(
        b"fcTL", struct.pack(">5I2H2B", 0, 90, 60, 0, 0, 1, 1, 0, 0)
    )
    yield good("animated png of one picture", files.with_chunks(PNG, control), extension="png")
    yield good("phone's pictures", encoded(RGB, "MPO", save_all=True, append_images=other))


# --- every kind of sample ---


def samples() -> Iterator[ImageCase]:
    yield good("cmyk", encoded(RGB.convert("CMYK"), "JPEG"))
    yield good("ycck", _ycck())
    yield good("gray jpeg", encoded(GRAY, "JPEG"))
    yield good("progressive", PROGRESSIVE)
    yield good("progressive gray", encoded(GRAY, "JPEG", progressive=True))
    yield good("subsampled", encoded(RGB, "JPEG", subsampling=2))
    yield good("restarts", bytes(cv2.imencode(".jpg", np.asarray(RGB), [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1]))
    yield good("arithmetic jpeg of noise", JPEG.replace(b"\xff\xc0", b"\xff\xc9", 1))  # any bits mean something there
    yield bad("lossless jpeg", JPEG.replace(b"\xff\xc0", b"\xff\xc3", 1))
    yield bad("hierarchical jpeg", JPEG.replace(b"\xff\xc0", b"\xff\xc5", 1))
    at = JPEG.find(b"\xff\xc0")
    yield bad("jpeg of 12 bits", JPEG[: at + 4] + b"\x0c" + JPEG[at + 5 :])
    yield bad("jpeg of 255 components", JPEG[: at + 9] + b"\xff" + JPEG[at + 10 :])
    for name, image in {"palette": RGB.quantize(64), "alpha": ALPHA, "gray": GRAY, "1-bit": GRAY.convert("1")}.items():
        yield good(f"png {name}", encoded(image, "PNG"), extension="png")
    yield good("png gray with alpha", encoded(ALPHA.convert("LA"), "PNG"), extension="png")
    yield good("png transparent palette", encoded(RGB.quantize(64), "PNG", transparency=3), extension="png")
    yield good("png 16 bits", bytes(cv2.imencode(".png", DEEP)[1]), extension="png")
    yield good("png 16 bits colour", bytes(cv2.imencode(".png", np.dstack([DEEP] * 3))[1]), extension="png")
    lines = b"".join(bytes([0]) + bytes(8 * 4) for _ in range(60))
    yield good("png interlaced", png(90, 60, interlaced=True, body=bytes(60 * 90 * 4) + lines), extension="png")
    yield bad("png palette missing", png(90, 60, colour=3, body=bytes(91 * 60)), extension="png")
    yield bad("png of 3 bits", png(90, 60, depth=3, body=bytes(271 * 60)), extension="png")
    yield bad("png of colour 5", png(90, 60, colour=5, body=bytes(271 * 60)), extension="png")
    yield good("webp alpha", encoded(ALPHA, "WEBP"), extension="webp")
    yield good("bmp palette", encoded(RGB.quantize(64), "BMP"), extension="bmp")
    yield good("bmp upside down", bmp(90, -60, body=bytes(272 * 60)), extension="bmp")
    yield good("tiff cmyk", encoded(RGB.convert("CMYK"), "TIFF"), extension="tif")
    yield good("tiff 16 bits", bytes(cv2.imencode(".tiff", DEEP)[1]), extension="tif")
    yield bad("tiff floats", encoded(GRAY.convert("F"), "TIFF"), UNSUPPORTED, extension="tif")
    yield bad("tiff alpha", encoded(ALPHA, "TIFF"), UNSUPPORTED, extension="tif")
    for compression in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        yield good(f"tiff {compression}", encoded(RGB, "TIFF", compression=compression), extension="tif")


def _ycck() -> bytes:
    """Adobe's transform 2 says that the first three of four components are YCbCr."""
    content = encoded(RGB.convert("CMYK"), "JPEG")
    at = content.find(b"Adobe")
    return content[: at + 11] + b"\x02" + content[at + 12 :]


def sizes() -> Iterator[ImageCase]:
    for file_format, extension in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("BMP", "bmp"), ("TIFF", "tif")):
        yield good(f"{extension} 1x1", encoded(picture(1, 1), file_format), shape=(1, 1), extension=extension)
    for width, height in ((16_384, 1), (1, 16_384)):
        content = encoded(picture(width, height), "PNG")
        yield good(f"png {width}x{height}", content, shape=(height, width), extension="png")
    for width, height in ((30_000, 1), (1, 30_000)):
        yield bad(f"jpg {width}x{height}", encoded(picture(width, height), "JPEG"), TOO_MANY)
        yield bad(f"png {width}x{height}", encoded(picture(width, height), "PNG"), TOO_MANY, extension="png")
    for width, height in ((0, 60), (90, 0), (0, 0)):
        yield bad(f"png {width}x{height}", png(width, height), extension="png")
        yield bad(f"jpg {width}x{height}", files.resized_jpeg(JPEG, width, height))
        yield bad(f"bmp {width}x{height}", bmp(width, height), extension="bmp")
        yield bad(f"tif {width}x{height}", tiff(files.gray_tags(width, height), bytes(64)), extension="tif")
