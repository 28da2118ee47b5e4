"""Each kind of file is decoded as Ultralytics reads it, or refused by name."""

import io
import itertools
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from consumer.errors import Reason, Rejected
from consumer.images.decode import Pixels, decode
from consumer.images.letterbox import letterbox
from consumer.settings import ImageSettings

LIMITS = ImageSettings(allowed_buckets=("parts",))
ORIENTATION = 0x112


def _smooth(width: int, height: int) -> NDArray[np.uint8]:
    """RGB, different at every corner, soft enough for JPEG."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, 255 - (x + y) * 255 // (width + height)], -1).astype(np.uint8)


RGB = _smooth(90, 60)
PICTURE = Image.fromarray(RGB)
GRAY = PICTURE.convert("L")
ALPHA = Image.fromarray(_smooth(90, 60)[:, :, 0])
RGBA = PICTURE.copy()
RGBA.putalpha(ALPHA)
GRAY_ALPHA = GRAY.copy()
GRAY_ALPHA.putalpha(ALPHA)
GRAY_16 = Image.fromarray(np.asarray(GRAY).astype(np.uint16) << 8 | 0x33)

LOSSLESS: dict[str, dict[str, Any]] = {"PNG": {}, "WEBP": {"lossless": True, "exact": True}, "BMP": {}, "TIFF": {}}


def encoded(picture: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def as_bgr(picture: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(picture.convert("RGB"))[:, :, ::-1]


def difference(pixels: Pixels, picture: Image.Image) -> int:
    expected = as_bgr(picture)
    assert pixels.shape == expected.shape
    return int(np.abs(pixels.astype(int) - expected).max())


def reason(content: bytes, limits: ImageSettings = LIMITS) -> tuple[Reason, str]:
    with pytest.raises(Rejected) as caught:
        decode(content, limits)
    assert caught.value.stage == "decode"
    return caught.value.reason, str(caught.value)


# --- what is decoded ---


PICTURES = {
    "rgb": PICTURE,
    "gray": GRAY,
    "alpha": RGBA,
    "gray-alpha": GRAY_ALPHA,
    "palette": PICTURE.quantize(64),
    "1-bit": GRAY.convert("1"),
}
NOT_WRITTEN = {("BMP", "gray-alpha"), ("TIFF", "alpha")}  # Pillow cannot; refused by name


@pytest.mark.parametrize(
    ("file_format", "kind"), [pair for pair in itertools.product(LOSSLESS, PICTURES) if pair not in NOT_WRITTEN]
)
def test_lossless_pixels_come_as_they_are_without_their_alpha(file_format: str, kind: str) -> None:
    picture = PICTURES[kind]
    pixels = decode(encoded(picture, file_format, **LOSSLESS[file_format]), LIMITS).pixels
    assert pixels.dtype == np.uint8
    assert pixels.flags["C_CONTIGUOUS"]
    assert difference(pixels, picture) == 0


@pytest.mark.parametrize(
    ("content", "picture"),
    [
        (encoded(PICTURE, "JPEG", quality=95), PICTURE),
        (encoded(PICTURE, "JPEG", quality=95, progressive=True), PICTURE),
        (encoded(GRAY, "JPEG", quality=95), GRAY),
        (encoded(PICTURE.convert("CMYK"), "JPEG", quality=95), PICTURE),
        (encoded(PICTURE, "MPO", quality=95, save_all=True, append_images=[GRAY]), PICTURE),
        (encoded(PICTURE, "JPEG", quality=95) + b"a phone's video" * 100, PICTURE),
        (encoded(PICTURE, "TIFF", compression="jpeg", quality=95), PICTURE),
        (encoded(PICTURE.convert("CMYK"), "TIFF"), PICTURE),
    ],
    ids=["rgb", "progressive", "gray", "cmyk", "phone", "trailing", "tiff-jpeg", "tiff-cmyk"],
)
def test_other_pixels_look_the_same(content: bytes, picture: Image.Image) -> None:
    assert difference(decode(content, LIMITS).pixels, picture) <= 12


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits"])
def test_tiff_is_read_in_its_usual_compressions(compression: str) -> None:
    assert difference(decode(encoded(PICTURE, "TIFF", compression=compression), LIMITS).pixels, PICTURE) == 0


@pytest.mark.parametrize("extension", [".png", ".tiff"])
def test_16_bits_are_scaled_to_8(extension: str) -> None:
    gray = np.asarray(GRAY_16)
    for deep in (gray, np.dstack([gray, gray, gray])):
        content = cv2.imencode(extension, deep)[1].tobytes()
        assert difference(decode(content, LIMITS).pixels, GRAY) <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("file_format", "picture"),
    [
        *itertools.product(["JPEG", "PNG", "WEBP", "TIFF"], [PICTURE, GRAY]),
        *itertools.product(["PNG", "TIFF"], [GRAY_16]),
    ],
)
def test_pixels_stand_upright(file_format: str, picture: Image.Image, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    tags = {"tiffinfo": {ORIENTATION: orientation}} if file_format == "TIFF" else {"exif": exif}
    content = encoded(picture, file_format, **LOSSLESS.get(file_format, {"quality": 95}), **tags)
    shown = GRAY if picture is GRAY_16 else picture
    upright = {
        1: shown,
        2: ImageOps.mirror(shown),
        3: shown.rotate(180),
        4: ImageOps.flip(shown),
        5: shown.transpose(Image.Transpose.TRANSPOSE),
        6: shown.rotate(-90, expand=True),
        7: shown.transpose(Image.Transpose.TRANSVERSE),
        8: shown.rotate(90, expand=True),
    }[orientation]
    assert difference(decode(content, LIMITS).pixels, upright) <= 12


@pytest.mark.filterwarnings("ignore")  # Pillow's, which production hides; a filter of the tests shows them again
def test_broken_exif_spoils_no_image() -> None:
    exif = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff" + b"\x12\x01\x07\x00\xff\xff\xff\x7f" * 4
    assert difference(decode(encoded(PICTURE, "JPEG", quality=95, exif=exif), LIMITS).pixels, PICTURE) <= 12


def test_one_image_is_decoded_on_one_core() -> None:
    assert cv2.getNumThreads() == 1


@pytest.mark.thorough
def test_pixels_equal_those_that_ultralytics_reads(tmp_path: Path) -> None:
    ultralytics = pytest.importorskip("ultralytics.utils")
    patches = pytest.importorskip("ultralytics.utils.patches")
    (tmp_path / "deep.png").write_bytes(encoded(GRAY_16, "PNG"))
    (tmp_path / "alpha.png").write_bytes(encoded(RGBA, "PNG"))
    (tmp_path / "cmyk.jpg").write_bytes(encoded(PICTURE.convert("CMYK"), "JPEG"))
    for path in [*ultralytics.ASSETS.glob("*.jpg"), *tmp_path.iterdir()]:
        assert np.array_equal(decode(path.read_bytes(), LIMITS).pixels, patches.imread(path)), path


# --- no more pixels than are needed ---

FAST = LIMITS.model_copy(update={"decode": "fast"})
SQUARE = (640, 640)


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (1920, 1080, (540, 960)),
        (1279, 720, (720, 1279)),  # a half is a pixel short of 640
        (1280, 1279, (1279, 1280)),  # both halves are 640: it would not show whether the sides were swapped
        (1281, 959, (480, 641)),
        (2560, 1920, (480, 640)),
        (5120, 4000, (500, 640)),
        (24, 4000, (1000, 6)),
    ],
)
def test_a_fast_decoding_leaves_out_what_would_be_scaled_away(
    width: int, height: int, expected: tuple[int, int]
) -> None:
    decoded = decode(encoded(Image.new("RGB", (width, height)), "JPEG"), FAST, image_size=SQUARE)

    assert decoded.pixels.shape[:2] == expected
    assert (decoded.height, decoded.width) == (height, width)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_fast_decoding_has_the_image_upright_and_knows_its_whole_size(orientation: int) -> None:
    large = Image.fromarray(_smooth(1400, 1000))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = encoded(large, "JPEG", quality=95, exif=exif)
    exact, fast = decode(content, LIMITS), decode(content, FAST, image_size=SQUARE)

    assert (fast.height, fast.width) == (exact.height, exact.width) == exact.pixels.shape[:2]
    assert fast.pixels.shape[:2] == (exact.height // 2, exact.width // 2)
    place = np.empty((2, *SQUARE, 3), np.uint8)
    whole = letterbox(exact.pixels, place[0], image_size=SQUARE)
    assert letterbox(fast.pixels, place[1], image_size=SQUARE, image=(fast.height, fast.width)) == whole
    assert np.abs(place[0].astype(int) - place[1]).max() <= 4


@pytest.mark.parametrize("file_format", LOSSLESS)
def test_what_is_no_jpeg_is_decoded_whole(file_format: str) -> None:
    content = encoded(Image.new("RGB", (1400, 1000)), file_format)
    assert decode(content, FAST, image_size=SQUARE).pixels.shape[:2] == (1000, 1400)


def test_a_decoding_is_exact_unless_another_one_is_asked_for() -> None:
    content = encoded(Image.new("RGB", (1400, 1000)), "JPEG")
    assert decode(content, LIMITS, image_size=SQUARE).pixels.shape[:2] == (1000, 1400)


# --- what is refused, and how it is called ---


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (encoded(PICTURE, "GIF"), "GIF"),
        (encoded(PICTURE, "AVIF"), "AVIF"),
        (encoded(PICTURE, "ICO"), "ICO"),
        (encoded(PICTURE, "JPEG2000"), "JPEG 2000"),
        (encoded(PICTURE, "PDF"), "PDF"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "HEIC"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "HTML or XML"),
        (b"\xef\xbb\xbf  <svg/>", "HTML or XML"),
        ('{"error": "größer"}'.encode(), "text"),
        (b"PK\x03\x04\x14\x00", "ZIP"),
        (encoded(PICTURE, "PNG", save_all=True, append_images=[GRAY.convert("RGB")]), "an animated PNG"),
        (encoded(PICTURE, "WEBP", save_all=True, append_images=[GRAY.convert("RGB")]), "an animated WEBP"),
        (encoded(PICTURE, "TIFF", save_all=True, append_images=[PICTURE]), "a TIFF of several pages"),
        (encoded(RGBA, "TIFF"), "a TIFF with RGBA samples"),
        (encoded(PICTURE.convert("LAB"), "TIFF"), "a TIFF with LAB samples"),
        (encoded(GRAY.convert("F"), "TIFF"), "a TIFF with F samples"),
        (encoded(GRAY.convert("I"), "TIFF"), "a TIFF with I samples"),
    ],
)
def test_other_files_are_refused_by_name(content: bytes, name: str) -> None:
    said, message = reason(content)
    assert said == "image_format_unsupported"
    assert f"the image is {name}" in message


def test_no_bytes_and_unknown_bytes_are_undecodable() -> None:
    assert reason(b"") == ("image_undecodable", "the image has no bytes")
    assert reason(bytes(range(200, 256))) == (
        "image_undecodable",
        "the first bytes, c8c9cacbcccdcecf, are no known image format's",
    )


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kept", [0.999, 0.9, 0.5, 0.1])
@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "jpeg"}),
    ],
)
def test_a_truncated_image_is_undecodable(file_format: str, options: dict[str, Any], kept: float) -> None:
    content = encoded(Image.fromarray(_smooth(640, 480)), file_format, **options)
    assert reason(content[: int(len(content) * kept)])[0] == "image_undecodable"


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_jpeg_without_its_last_bytes_is_undecodable(missing: int) -> None:
    assert reason(encoded(PICTURE, "JPEG")[:-missing])[0] == "image_undecodable"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_a_known_beginning_and_nothing_behind_it_is_undecodable(file_format: str) -> None:
    assert reason(encoded(PICTURE, file_format)[:16] + bytes(64))[0] == "image_undecodable"


# --- limits ---


def bomb(width: int, height: int) -> bytes:
    """A PNG of 65 bytes that claims as many pixels as it likes."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_bomb_is_refused_by_its_header() -> None:
    wide = ImageSettings(allowed_buckets=("parts",), max_side=100_000)
    said, message = reason(bomb(20_000, 20_000), wide)
    assert said == "image_too_many_pixels"
    assert "20000x20000 pixels, limit 50000000 in all (images.max_pixels)" in message


@pytest.mark.parametrize(("width", "height"), [(20_000, 1), (1, 20_000)])
def test_a_side_has_a_limit_of_its_own(width: int, height: int) -> None:
    said, message = reason(bomb(width, height))
    assert said == "image_too_many_pixels"
    assert f"{width}x{height} pixels, limit 16384 a side (images.max_side)" in message


def test_an_image_at_its_limits_is_decoded() -> None:
    exact = ImageSettings(allowed_buckets=("parts",), max_pixels=90 * 60, max_side=90)
    assert decode(encoded(PICTURE, "PNG"), exact).pixels.shape == (60, 90, 3)


def test_a_decoder_that_sees_another_size_than_the_header_says_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: np.zeros((61, 90, 3), np.uint8))
    assert reason(encoded(PICTURE, "PNG")) == (
        "image_undecodable",
        "the header says 90x60, decoded are 90x61",
    )


def test_what_opencv_throws_is_an_undecodable_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise cv2.error("out of its wits")

    monkeypatch.setattr(cv2, "imdecode", fail)
    assert reason(encoded(PICTURE, "PNG"))[0] == "image_undecodable"
