"""How large does a JPEG or PNG say that it is, and is it built to cost more than its pixels do?

Decoders bound pixels, and little else: a marker of four bytes, a scan or a tag may be repeated a million times. Pillow
keeps every marker and chunk, and reads EXIF tags that share one value once for each. So what stands before the pixels
is walked here, by lengths alone, and refused beyond what any encoder writes.

JPEG: ITU-T T.81 annex B. PNG: https://www.w3.org/TR/png-3/. TIFF: revision 6.0; BigTIFF as libtiff reads it.
"""

import re
import struct
from typing import NamedTuple

# Thirty-two megabytes of the longest segments are 512; a long profile and its thumbnails are some dozens.
MAX_SEGMENTS = 4096
# Each one goes over all pixels. Encoders write about ten; libtiff has this bound for a JPEG inside a TIFF.
MAX_SCANS = 100
# Between segments; decoders skip it byte by byte.
MAX_JUNK = 65_536
# Those beside the pixels may each unpack to 8 MB. A PNG with all its texts has some dozens.
MAX_CHUNKS = 256
MAX_PIXEL_CHUNKS = 65_536
MAX_TAGS = 4096
# Strips and tiles are the longest lists of numbers: one strip a row and plane.
MAX_NUMBERS = 2**18

# Fill bytes, stuffed ones and restarts are between segments, or in the pixels of a scan.
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN, _TEMPORARY = 0xD8, 0xD9, 0xDA, 0x01
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # tables and an extension are among them
_PIXEL_CHUNKS = frozenset({b"IDAT", b"fdAT", b"fcTL"})
_BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_BYTE_TYPES = frozenset({1, 2, 6, 7})


class BadHeader(ValueError):
    """The header is cut short or broken, or no picture needs what it holds; the text says which."""


class Header(NamedTuple):
    """Sides as stored, before EXIF orientation, and whether more than one picture follows."""

    width: int
    height: int
    is_animated: bool = False


def jpeg_header(content: bytes) -> Header:
    """The size of the first frame: decoders refuse a second one. Raises `BadHeader`."""
    frame: _Frame | None = None
    segments = scans = junk = 0
    at = 2
    while found := _MARKER.search(content, at, len(content) if scans else at + MAX_JUNK + 2):
        code, inside = found[1][0], found.end()
        junk += 0 if scans else found.start() - at
        segments += 1
        scans += code == _START_OF_SCAN
        if junk > MAX_JUNK or segments > MAX_SEGMENTS or scans > MAX_SCANS:
            raise BadHeader(f"has {segments} segments, {scans} scans and {junk} bytes between them")
        if code in _FRAMES and frame is None:
            frame = _frame(content, inside)
        if code == _END_OF_IMAGE or (code == _START_OF_SCAN and frame and frame.is_whole_in(content, inside)):
            break
        at = inside + _length(content, inside, code)
    if frame is None or not scans:
        raise BadHeader("is cut short before its pixels")
    return Header(frame.width, frame.height)


class _Frame(NamedTuple):
    width: int
    height: int
    components: int
    is_progressive: bool

    def is_whole_in(self, content: bytes, at: int) -> bool:
        """Whether the scan that begins here is the only one that is read."""
        return not self.is_progressive and content[at + 2 : at + 3] >= bytes([self.components])


def _frame(content: bytes, at: int) -> _Frame:
    if at + 8 > len(content):
        raise BadHeader("is cut short in its frame")
    height, width, components = struct.unpack_from(">3xHHB", content, at)
    return _Frame(width, height, components, is_progressive=content[at - 1] % 4 == 2)


def _length(content: bytes, at: int, code: int) -> int:
    if code in (_START_OF_IMAGE, _TEMPORARY):
        return 0
    if at + 3 > len(content):
        raise BadHeader("is cut short in a segment")
    return max(2, int.from_bytes(content[at : at + 2], "big"))


def png_header(content: bytes) -> Header:
    """Raises `BadHeader`."""
    if content[12:16] != b"IHDR" or len(content) < 33:
        raise BadHeader("does not begin with a whole IHDR")
    width, height = struct.unpack_from(">II", content, 16)
    before: dict[bytes, int] = {}  # chunks before the pixels, and where each of their kinds is first
    beside = of_pixels = 0
    at = 8
    name = b""
    while name != b"IEND":
        if at + 8 > len(content):
            raise BadHeader("is not followed by the end")
        length, name = struct.unpack_from(">I4s", content, at)
        if at + 12 + length > len(content):  # OpenCV makes room for as much as a chunk says that it holds
            raise BadHeader(f"is followed by a chunk of {length} bytes, of which some are missing")
        if b"IDAT" not in before:
            before.setdefault(name, at)
        of_pixels += name in _PIXEL_CHUNKS
        beside += name not in _PIXEL_CHUNKS
        if beside > MAX_CHUNKS or of_pixels > MAX_PIXEL_CHUNKS:
            raise BadHeader(f"has {of_pixels} chunks of pixels and {beside} others")
        at += 12 + length
    return Header(width, height, _is_animated(content, before))


def _is_animated(content: bytes, before: dict[bytes, int]) -> bool:
    """Whether more than one picture is announced; the first one is a frame only if it has a frame's control."""
    if b"acTL" not in before:
        return False
    frames = int.from_bytes(content[before[b"acTL"] + 8 : before[b"acTL"] + 12], "big")
    return frames > 1 or (frames == 1 and b"fcTL" not in before)


def check_tiff(content: bytes) -> None:
    """Raises `BadHeader` for a first directory that says more than the file can hold, or any picture needs."""
    order = "<" if content.startswith(b"II") else ">"
    is_big = b"+" in content[2:4]
    try:
        if is_big:
            (start,) = struct.unpack_from(f"{order}Q", content, 8)
            (count,) = struct.unpack_from(f"{order}Q", content, start)
            entry, start = struct.Struct(f"{order}HHQ8x"), start + 8
        else:
            (start,) = struct.unpack_from(f"{order}I", content, 4)
            (count,) = struct.unpack_from(f"{order}H", content, start)
            entry, start = struct.Struct(f"{order}HHI4x"), start + 2
        if count > MAX_TAGS:
            raise BadHeader(f"has {count} tags")
        _check_tags([entry.unpack_from(content, start + number * entry.size) for number in range(count)], len(content))
    except (struct.error, OverflowError) as error:
        raise BadHeader("is cut short in its directory") from error


def _check_tags(entries: list[tuple[int, int, int]], size: int) -> None:
    longest = max((count for _, kind, count in entries if kind not in _BYTE_TYPES), default=0)
    if longest > MAX_NUMBERS:
        raise BadHeader(f"has a list of {longest} numbers in its directory")
    whole = sum(count * _BYTES_OF_TYPE.get(kind, 1) for _, kind, count in entries)
    if whole > size:  # tags may share bytes, and each is read for itself
        raise BadHeader(f"says that its tags hold {whole} bytes")
