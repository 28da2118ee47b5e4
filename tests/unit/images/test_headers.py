"""Is a file's size read as decoders read it, and is each bound where it is said to be?"""

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.images import headers
from consumer.images.headers import BadHeader, Header, check_tiff, jpeg_header, png_header
from tests.hostile import files
from tests.hostile.files import chunk, segment, tiff
from tests.hostile.image_case import JPEG, PNG, PROGRESSIVE, TIFF


def test_the_size_is_that_of_the_frame() -> None:
    assert jpeg_header(JPEG) == jpeg_header(PROGRESSIVE) == png_header(PNG) == Header(90, 60)
    check_tiff(TIFF)


def test_what_looks_like_a_frame_inside_a_segment_is_none() -> None:
    inner = segment(0xE1, files.resized_jpeg(JPEG, 5, 5))

    assert jpeg_header(files.with_segments(JPEG, inner)) == Header(90, 60)


def test_scans_behind_the_end_are_none() -> None:
    assert jpeg_header(PROGRESSIVE + b"\xff\xda" * 5000) == Header(90, 60)


def test_each_bound_is_met_and_not_passed() -> None:
    segments = JPEG[: JPEG.find(b"\xff\xda") + 2].count(b"\xff")  # its own: no other byte there is 255
    scans = PROGRESSIVE.count(b"\xff\xda")
    at_most: list[tuple[Callable[[bytes], object], Callable[[int], bytes]]] = [
        (
            jpeg_header,
            lambda more: files.with_segments(JPEG, segment(0xE5) * (headers.MAX_SEGMENTS - segments + 1 + more)),
        ),
        (jpeg_header, lambda more: files.with_scans(PROGRESSIVE, headers.MAX_SCANS - scans + more)),
        (jpeg_header, lambda more: files.with_segments(JPEG, b"\xff" * (headers.MAX_JUNK + more))),
        (png_header, lambda more: files.with_chunks(PNG, chunk(b"teSt") * (headers.MAX_CHUNKS - 2 + more))),
        (png_header, lambda more: files.with_chunks(PNG, chunk(b"IDAT") * (headers.MAX_PIXEL_CHUNKS - 1 + more))),
        (check_tiff, lambda more: tiff([(50_000, 4, 1, 1)] * (headers.MAX_TAGS + more))),
        (check_tiff, lambda more: tiff([(273, 4, headers.MAX_NUMBERS + more, 8)], bytes(2**20 + 4))),
        (check_tiff, lambda more: tiff([(50_000, 7, 26 + 500 + more, 8)], bytes(500))),
    ]
    for read, made in at_most:
        read(made(0))
        with pytest.raises(BadHeader):
            read(made(1))


def test_a_png_ends_within_its_bytes() -> None:
    for content in (PNG[:-1], PNG[:-12], files.with_chunks(PNG, struct.pack(">I", 2**31) + b"teSt")):
        with pytest.raises(BadHeader):
            png_header(content)
    assert png_header(PNG + b"garbage") == Header(90, 60)


@given(st.binary(max_size=200))
def test_any_bytes_have_a_size_or_a_fault(content: bytes) -> None:
    for read, start in (
        (jpeg_header, b"\xff\xd8\xff"),
        (png_header, PNG[:33]),
        (check_tiff, b"II*\0"),
        (check_tiff, b"MM\0+"),
    ):
        try:
            read(start + content)
        except BadHeader as fault:
            message = str(fault)
        else:
            message = "none"
        assert message
