"""What kind of file is this? Said by its first bytes, never by its name."""

from typing import NamedTuple

# What Pillow calls the formats that are inspected; phones' MPO is JPEG with more pictures behind the first.
_INSPECTED = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
)
_OTHERS = (
    (b"GIF8", "GIF"),
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"8BPS", "Photoshop"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1f\x8b", "gzip"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
)
_TEXT = frozenset(range(0x20, 0x7F)) | {0x09, 0x0A, 0x0C, 0x0D} | frozenset(range(0x80, 0x100))


class Kind(NamedTuple):
    """A format's name, and whether it is one that is inspected."""

    name: str
    is_inspected: bool


def kind_of(content: bytes) -> Kind | None:
    """The kind of these bytes, None when nothing is recognised."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return Kind("WEBP", is_inspected=True)
    for magic, name in _INSPECTED:
        if content.startswith(magic):
            return Kind(name, is_inspected=True)
    other = _other(content)
    return Kind(other, is_inspected=False) if other else None


def _other(content: bytes) -> str | None:
    for magic, name in _OTHERS:
        if content.startswith(magic):
            return name
    if content[4:8] == b"ftyp":  # ISO base media: the brand says which
        return {b"hei": "HEIC", b"hev": "HEIC", b"mif": "HEIF", b"avi": "AVIF"}.get(content[8:11], "MP4")
    if content[128:132] == b"DICM":
        return "DICOM"
    start = content[:512].removeprefix(b"\xef\xbb\xbf").lstrip()
    if start and _TEXT.issuperset(start) and _is_utf8(start):
        return "HTML or XML" if start.startswith(b"<") else "text"
    return None


def _is_utf8(start: bytes) -> bool:
    try:
        start.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"  # a character cut in two
    return True
