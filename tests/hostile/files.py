"""What are image files made of? Good ones, and the parts from which bad ones are put together."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 90, 60
PNG = b"\x89PNG\r\n\x1a\n"
ORIENTATION = 0x112


def picture(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """RGB, different at every corner, soft enough for JPEG."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = [x * 255 // width, y * 255 // height, 255 - (x + y) * 255 // (width + height)]
    return Image.fromarray(np.stack(rgb, -1).astype(np.uint8))


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


# --- PNG ---


def chunk(name: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(
    width: int, height: int, *, depth: int = 8, colour: int = 2, interlaced: bool = False, body: bytes = b""
) -> bytes:
    """A PNG that claims this size; `body` is what its pixels unpack to."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    return PNG + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body, 9)) + chunk(b"IEND")


def with_chunks(content: bytes, chunks: bytes, *, behind_the_pixels: bool = False) -> bytes:
    at = len(content) - 12 if behind_the_pixels else 33
    return content[:at] + chunks + content[at:]


# --- JPEG ---


def segment(code: int, body: bytes = b"") -> bytes:
    return struct.pack(">BBH", 0xFF, code, len(body) + 2) + body


def with_segments(content: bytes, segments: bytes) -> bytes:
    """Behind the start of the image."""
    return content[:2] + segments + content[2:]


def resized_jpeg(content: bytes, width: int, height: int) -> bytes:
    """The same file with another size in its frame."""
    at = next(at for code in (b"\xff\xc0", b"\xff\xc2") if (at := content.find(code)) > 0)
    return content[: at + 5] + struct.pack(">HH", height, width) + content[at + 9 :]


def with_scans(content: bytes, count: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    scan = content[content.rfind(b"\xff\xda") : -2]
    return content[:-2] + scan * count + content[-2:]


def exif_segment(tiff: bytes) -> bytes:
    return segment(0xE1, b"Exif\x00\x00" + tiff)


# --- WebP ---


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(name + struct.pack("<I", len(part)) + part + b"\x00" * (len(part) % 2) for name, part in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def canvas(width: int, height: int, flags: int = 0) -> tuple[bytes, bytes]:
    """WebP's extended header, which says the size of the whole."""
    return b"VP8X", bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")


def frame(width: int, height: int, content: bytes) -> tuple[bytes, bytes]:
    """One frame of an animation; `content` is a simple WebP file."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"ANMF", bytes(6) + sides + bytes(4) + content[12:]


# --- TIFF and EXIF ---

Tag = tuple[int, int, int, int]  # number, type, count, value or offset
SHORT, LONG = 3, 4


def tiff(tags: list[Tag], pixels: bytes = b"", *, order: str = "<", following: int = 0) -> bytes:
    """A TIFF of one directory; a value of -1 is the offset of the pixels."""
    start = 8 + 2 + 12 * len(tags) + 4
    words = [struct.pack(f"{order}HHI", *tag[:3]) + _value(tag, start, order) for tag in tags]
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(tags))
    return head + b"".join(words) + struct.pack(f"{order}I", following) + pixels


def _value(tag: Tag, start: int, order: str) -> bytes:
    value = start if tag[3] == -1 else tag[3]
    is_short = tag[1] == SHORT and tag[2] == 1
    return struct.pack(f"{order}HH", value, 0) if is_short else struct.pack(f"{order}I", value)


def gray_tags(width: int, height: int, **changes: int) -> list[Tag]:
    """The tags of an uncompressed gray TIFF in one strip."""
    values = {"bits": 8, "samples": 1, "rows": height, "bytes": width * height} | changes
    return [
        (256, LONG, 1, width),
        (257, LONG, 1, height),
        (258, SHORT, 1, values["bits"]),
        (259, SHORT, 1, 1),
        (262, SHORT, 1, 1),
        (273, LONG, 1, -1),
        (277, SHORT, 1, values["samples"]),
        (278, LONG, 1, values["rows"]),
        (279, LONG, 1, values["bytes"]),
    ]


def exif(orientation: int, *, order: str = "<", following: int = 0) -> bytes:
    """EXIF's TIFF with the orientation alone."""
    return tiff([(ORIENTATION, SHORT, 1, orientation)], order=order, following=following)


# --- BMP ---


def bmp(width: int, height: int, *, bits: int = 24, compression: int = 0, body: bytes = b"") -> bytes:
    palette = bytes(1024) if bits == 8 else b""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    start = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<III", start + len(body), 0, start) + header + palette + body
