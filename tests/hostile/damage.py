"""Which images are cut off, contradict themselves, or have more in them than belongs there?"""

import struct
from collections.abc import Iterator

from tests.hostile import files
from tests.hostile.files import canvas, chunk, riff, segment, tiff
from tests.hostile.image_case import (
    BMP,
    FILES,
    GIF,
    JPEG,
    LOSSY,
    PNG,
    PROGRESSIVE,
    TIFF,
    TOO_MANY,
    UNSUPPORTED,
    WEBP,
    ImageCase,
    bad,
    good,
)

# --- cut off at every joint ---


def truncated() -> Iterator[ImageCase]:
    frame, tables, scan = (JPEG.find(code) for code in (b"\xff\xc0", b"\xff\xc4", b"\xff\xda"))
    joints = {
        "in the start": 1,
        "behind the start": 2,
        "in the first segment": 9,
        "behind the first segment": 20,
        "before the frame": frame,
        "in the frame's length": frame + 3,
        "in the frame": frame + 8,
        "behind the frame": frame + 19,
        "in a table": tables + 10,
        "before the scan": scan,
        "in the scan's head": scan + 5,
        "behind the scan's head": scan + 14,
        "in the pixels": (scan + len(JPEG)) // 2,
        "before the end": len(JPEG) - 2,
        "in the end": len(JPEG) - 1,
    }
    for joint, at in joints.items():
        yield bad(f"jpeg cut {joint}", JPEG[:at])
    second = PROGRESSIVE.find(b"\xff\xda", PROGRESSIVE.find(b"\xff\xda") + 2)
    yield bad("progressive cut before its second scan", PROGRESSIVE[:second])
    yield bad("progressive cut in its second scan", PROGRESSIVE[: second + 40])
    pixels = PNG.find(b"IDAT")
    for joint, at in {
        "in the signature": 5,
        "behind the signature": 8,
        "in the header": 20,
        "in the header's sum": 31,
        "behind the header": 33,
        "in the pixels' length": pixels - 2,
        "before the pixels": pixels + 4,
        "in the pixels": pixels + 100,
        "in the pixels' sum": len(PNG) - 14,
    }.items():
        yield bad(f"png cut {joint}", PNG[:at], extension="png")
    for joint, at in {
        "in riff": 6,
        "behind riff": 12,
        "in the head": 18,
        "behind the head": 25,
        "in the pixels": 60,
    }.items():
        yield bad(f"webp cut {joint}", WEBP[:at], extension="webp")
        yield bad(f"lossy webp cut {joint}", LOSSY[:at], extension="webp")
    directory = struct.unpack_from("<I", TIFF, 4)[0]
    for joint, at in {
        "in the head": 6,
        "behind the head": 8,
        "in the directory": directory + 20,
        "before the last tag": directory + 2 + 12 * 3,
        "in the pixels": len(TIFF) // 2,
        "at the last byte": len(TIFF) - 1,
    }.items():
        yield bad(f"tiff cut {joint}", TIFF[:at], extension="tif")
    for joint, at in {"in the head": 10, "in the header": 30, "before the pixels": 54, "in the pixels": 5000}.items():
        yield bad(f"bmp cut {joint}", BMP[:at], extension="bmp")
    yield bad("gif cut", GIF[:20], UNSUPPORTED, extension="gif")


# --- more than belongs there ---


def additions() -> Iterator[ImageCase]:
    for name, content in FILES.items():
        yield good(f"{name} with garbage behind", content + b"\x00\xff\xda garbage" * 500)
    yield good("jpeg with a zip behind", JPEG + b"PK\x03\x04" + bytes(500))
    yield good("jpeg with a program in a comment", files.with_segments(JPEG, segment(0xFE, b"<?php evil(); ?>")))
    yield good("jpeg with a page in it", files.with_segments(JPEG, segment(0xE0, b"<html><script>alert(1)</script>")))
    yield good("jpeg with a jpeg in it", files.with_segments(JPEG, segment(0xE1, JPEG)))
    yield good("jpeg with a jpeg behind", JPEG + files.resized_jpeg(JPEG, 65_535, 65_535))
    yield bad("gif and jpeg", b"GIF89a" + JPEG, UNSUPPORTED)
    yield bad("pdf and jpeg", b"%PDF-1.4\n" + JPEG, UNSUPPORTED)
    yield bad("garbage before jpeg", b"\x01\x02\x03" + JPEG)
    yield bad("byte order mark before jpeg", b"\xef\xbb\xbf" + JPEG)
    yield good("png with a page in it", files.with_chunks(PNG, chunk(b"tEXt", b"a\0<script>")), extension="png")
    yield bad("png without its end", PNG[:-12], extension="png")
    yield bad("png in text mode", PNG.replace(b"\r\n", b"\n"), extension="png")


# --- files that say two things ---


def contradictions() -> Iterator[ImageCase]:
    at = JPEG.find(b"\xff\xc0")
    second = JPEG[at : at + 19]
    yield bad("jpeg of two frames", JPEG[:at] + files.resized_jpeg(second.rjust(20, b"\0"), 8, 8)[1:] + JPEG[at:])
    yield bad(
        "jpeg of a large second frame",
        JPEG[: at + 19] + second[:5] + b"\xff\xff\xff\xff" + second[9:] + JPEG[at + 19 :],
    )
    header = PNG[8:33]
    large = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
    yield bad("png of two headers", files.with_chunks(PNG, header), extension="png")
    yield bad("png of a large second header", files.with_chunks(PNG, large), extension="png")
    yield bad("png of a wrong sum", PNG[:29] + bytes(4) + PNG[33:], extension="png")
    yield bad("webp larger than its picture", riff(canvas(1000, 1000), (WEBP[12:16], WEBP[20:])), extension="webp")
    yield bad("webp smaller than its picture", riff(canvas(8, 8), (WEBP[12:16], WEBP[20:])), extension="webp")
    gray = files.gray_tags(64, 64)
    wide = tiff([*gray[:1], (256, 4, 1, 30_000), *gray[1:]], bytes(4096))
    yield good("tiff of two widths", wide, shape=(64, 64), extension="tif")
    yield bad("tiff of two widths, the large one first", tiff([(256, 4, 1, 30_000), *gray], bytes(4096)), TOO_MANY)
    yield bad("bmp whose pixels lie outside", BMP[:10] + struct.pack("<I", 2**31 - 1) + BMP[14:], extension="bmp")
