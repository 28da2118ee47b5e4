"""Which images say by EXIF how they stand, and which only seem to?"""

from collections.abc import Iterator

from tests.hostile import files
from tests.hostile.files import HEIGHT, WIDTH, chunk, exif, segment, tiff
from tests.hostile.image_case import EXIF_6, JPEG, PNG, ImageCase, good

# --- EXIF ---


def turned_by_exif() -> Iterator[ImageCase]:
    for number in range(1, 9):
        shape = (HEIGHT, WIDTH) if number < 5 else (WIDTH, HEIGHT)
        order = "<>"[number % 2]
        yield good(f"jpg orientation {number}", _turned(exif(number, order=order)), shape=shape)
        block = chunk(b"eXIf", exif(number, order=order))
        yield good(f"png orientation {number}", files.with_chunks(PNG, block), shape=shape, extension="png")
    for number in (0, 9, 65_535):
        yield good(f"orientation {number}", _turned(exif(number)))
    good_one = exif(6)
    useless = {
        "empty": b"",
        "head alone": good_one[:8],
        "cut": good_one[:14],
        "that begins nowhere": good_one[:4] + b"\xff\xff\xff\xff" + good_one[8:],
        "that begins in itself": good_one[:4] + bytes(4) + good_one[8:],
        "of two orders": b"IM" + good_one[2:],
        "of no order": b"XX" + good_one[2:],
        "whose text lies outside": tiff([(271, 2, 1000, 2**31)]),
        "whose numbers lie outside": tiff([(282, 5, 10**6, 2**32 - 8)]),
    }
    for name, block in useless.items():
        yield good(f"exif {name}", _turned(block))
        yield good(f"png exif {name}", files.with_chunks(PNG, chunk(b"eXIf", block)), extension="png")
    readable = {
        "of 65535 tags": good_one[:8] + b"\xff\xff" + good_one[10:],
        "of a huge count": tiff([(files.ORIENTATION, 3, 2**32 - 1, 8)]),
        "of another type": tiff([(files.ORIENTATION, 7, 4, 8)]),
    }
    for name, block in readable.items():  # its orientation still is, and OpenCV turns the picture
        yield good(f"exif {name}", _turned(block), shape=(WIDTH, HEIGHT))
        turned = files.with_chunks(PNG, chunk(b"eXIf", block))
        yield good(f"png exif {name}", turned, shape=(WIDTH, HEIGHT), extension="png")
    loop = tiff([(0x8769, 4, 1, 8), (files.ORIENTATION, 3, 1, 6)], following=8)
    yield good("exif that goes round", _turned(loop), shape=(WIDTH, HEIGHT))
    shared = tiff([(50_000 + number, 7, 60_000, 8) for number in range(4000)], bytes(10_000))
    yield good("exif whose tags share bytes", _turned(shared))
    yield good("two exifs", files.with_segments(JPEG, EXIF_6 + files.exif_segment(exif(3))), shape=(WIDTH, HEIGHT))
    long = [files.exif_segment(exif(1) + bytes(65_000)), *[segment(0xE1, b"Exif\0\0" + bytes(65_000))] * 20]
    yield good("a long exif", files.with_segments(JPEG, b"".join(long)))


def _turned(block: bytes) -> bytes:
    return files.with_segments(JPEG, files.exif_segment(block))
