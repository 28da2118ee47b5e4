"""Which small images ask for much memory or time, by what they claim or how they are built?"""

import struct
import zlib
from collections.abc import Iterator

from tests.hostile import files
from tests.hostile.files import HEIGHT, WIDTH, bmp, canvas, chunk, png, riff, segment, tiff
from tests.hostile.image_case import GIF, JPEG, PNG, PROGRESSIVE, TOO_MANY, UNSUPPORTED, WEBP, ImageCase, bad, good

# --- more pixels than anybody wants ---


def bombs() -> Iterator[ImageCase]:
    for width, height in ((20_000, 20_000), (65_535, 65_535), (2**31 - 1, 1), (1, 2**31 - 1), (16_000, 16_000)):
        yield bad(f"bomb png {width}x{height}", png(width, height), TOO_MANY, extension="png")
    yield bad("bomb png interlaced", png(30_000, 30_000, depth=16, colour=6, interlaced=True), TOO_MANY)
    yield bad("bomb png unpacking", png(16_385, 3, body=bytes(10**6)), TOO_MANY)
    for width, height in ((65_535, 65_535), (16_384, 16_384), (60_000, 1)):
        yield bad(f"bomb jpeg {width}x{height}", files.resized_jpeg(JPEG, width, height), TOO_MANY)
    yield bad("bomb jpeg progressive", files.resized_jpeg(PROGRESSIVE, 65_535, 65_535), TOO_MANY)
    whole = struct.pack("<I", 16_383 | 16_383 << 14)
    yield bad("bomb webp lossless", WEBP[:21] + whole + WEBP[25:], TOO_MANY, extension="webp")
    still = (WEBP[12:16], WEBP[20:])
    animation = (b"ANIM", bytes(6))
    yield bad(
        "bomb webp canvas", riff(canvas(16_384, 16_384, 2), animation, files.frame(WIDTH, HEIGHT, WEBP)), TOO_MANY
    )
    yield bad("bomb webp canvas without end", riff(canvas(2**24, 2**24), still))
    yield bad("bomb gif", GIF[:6] + struct.pack("<HH", 65_535, 65_535) + GIF[10:], UNSUPPORTED, extension="gif")
    yield bad("bomb tiff", tiff(files.gray_tags(30_000, 30_000), bytes(64)), TOO_MANY, extension="tif")
    yield bad("bomb tiff big endian", tiff(files.gray_tags(60_000, 60_000), bytes(64), order=">"), TOO_MANY)
    tiled = [(256, 4, 1, 64), (257, 4, 1, 64), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1)]
    tiles = [(322, 4, 1, 2**20), (323, 4, 1, 2**20), (324, 4, 1, -1), (325, 4, 1, 64)]
    yield bad("bomb tiff tile", tiff(tiled + tiles, bytes(64)))
    yield bad("bomb tiff samples", tiff(files.gray_tags(64, 64, samples=65_535), bytes(64)))
    for height in (40_000, -40_000, -(2**31)):
        yield bad(f"bomb bmp {height}", bmp(40_000, height), TOO_MANY, extension="bmp")
    yield bad("bomb bmp runs", bmp(30_000, 30_000, bits=8, compression=1, body=b"\x00\x01"), TOO_MANY)


# --- small files that take long, or much memory, to read ---


def built_to_cost() -> Iterator[ImageCase]:
    yield bad("many empty segments", files.with_segments(JPEG, segment(0xE5) * 5000))
    yield bad("many comments", files.with_segments(JPEG, segment(0xFE, b"x") * 5000))
    yield bad("long fill", files.with_segments(JPEG, b"\xff" * 100_000))
    yield bad("much between segments", files.with_segments(JPEG, segment(0xE5) + b"\xff\x00" * 50_000))
    yield bad("restarts before the frame", files.with_segments(JPEG, b"\xff\xd0" * 50_000))
    yield bad("many scans", files.with_scans(PROGRESSIVE, 200))
    yield bad("many scans one by one", _sequential_scans(200))
    yield good("some more scans", files.with_scans(PROGRESSIVE, 20))
    yield good("a long profile", files.with_segments(JPEG, segment(0xE2, bytes(65_000)) * 20))
    yield bad("many chunks", files.with_chunks(PNG, chunk(b"teSt") * 300), extension="png")
    yield bad("many chunks behind", files.with_chunks(PNG, chunk(b"tEXt", b"a\0b") * 300, behind_the_pixels=True))
    packed = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**6), 9))
    yield bad("many packed texts", files.with_chunks(PNG, packed * 300), extension="png")
    yield good("some packed texts", files.with_chunks(PNG, packed * 5), extension="png")
    yield bad("many empty pieces", files.with_chunks(PNG, chunk(b"IDAT") * 70_000), extension="png")
    for name in (b"teSt", b"eXIf", b"IDAT", b"acTL", b"IEND"):
        claim = struct.pack(">I", 2**32 - 20) + name
        yield bad(f"a chunk {name.decode()} of 4 GB", files.with_chunks(PNG, claim), extension="png")
    yield bad("a last chunk of 2 GB", files.with_chunks(PNG, b"\x7f\xff\xff\xfftEXt", behind_the_pixels=True))
    profile = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8), 9))
    yield good("a profile that unpacks to 100 MB", files.with_chunks(PNG, profile), extension="png")
    gray = files.gray_tags(64, 64)
    shared = [(50_000 + number, 7, 4000, 8) for number in range(100)]
    yield bad("tags that share bytes", tiff(gray + shared, bytes(4096)), extension="tif")
    yield bad("many tags", tiff(gray + [(50_000, 4, 1, 1)] * 5000, bytes(4096)), extension="tif")
    strips = [(273, 4, 300_000, 200), (279, 4, 300_000, 200)]
    yield bad("many strips", tiff([*gray[:5], strips[0], *gray[6:8], strips[1]], bytes(3 * 10**6)), extension="tif")
    yield bad("count without end", tiff([*gray[:5], (273, 4, 2**32 - 1, 8), *gray[6:]], bytes(4096)), extension="tif")
    big = b"II+\x00\x08\x00\x00\x00" + struct.pack("<QQ", 16, 2**63) + bytes(100)
    yield bad("big tiff with tags without end", big, extension="tif")
    yield bad("big tiff that begins nowhere", b"II+\x00\x08\x00\x00\x00" + b"\xff" * 64, extension="tif")
    yield bad("big tiff in reverse", b"MM\x00+" + b"\xff" * 64, extension="tif")


def _sequential_scans(count: int) -> bytes:
    """A baseline JPEG whose scans hold one component each, again and again."""
    at = JPEG.find(b"\xff\xda")
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + JPEG[at + 14 : -2]
    return JPEG[:at] + scan * count + b"\xff\xd9"


# --- the same in full size, for a test of its memory alone ---


def enormous() -> Iterator[tuple[str, bytes]]:
    """Files within `images.max_bytes`, none of which becomes a result: read without the guards, each of them takes from
    a quarter of a gigabyte to as much as there is, or minutes."""
    yield "segments", files.with_segments(JPEG, segment(0xE5) * 4_000_000)
    yield "chunks", files.with_chunks(PNG, chunk(b"teSt") * 1_000_000)
    yield "scans", files.with_scans(files.resized_jpeg(PROGRESSIVE, 7000, 7000), 20_000)
    yield "texts", files.with_chunks(PNG, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(7_900_000), 9)) * 900)
    lists = [(273, 4, 3_000_000, 200), (279, 4, 3_000_000, 200)]
    yield "strips", tiff(lists + files.gray_tags(64, 64), bytes(12_000_400))
    shared = [(50_000 + number, 7, 20_000_000, 8) for number in range(100)]
    yield "tags", tiff(files.gray_tags(64, 64) + shared, bytes(20_000_000))
    animation = (b"ANIM", bytes(6)), files.frame(WIDTH, HEIGHT, WEBP)
    yield "canvas", riff(canvas(16_383, 16_383, 2), *animation)
    yield "claim", files.with_chunks(PNG, struct.pack(">I", 2**32 - 20) + b"eXIf")
    yield "pixels", png(2**31 - 1, 2**31 - 1)
