"""Which bad jobs does the demo publish beside the good ones, and which reason must each of them get?"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import msgspec

from consumer.demo.parts import encode, render_part
from consumer.errors import Reason
from consumer.messages import ImageReference, JobMessage

FORBIDDEN_BUCKET = "somebody-elses-bucket"
_HTML = b"<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head><body>Try again later.</body></html>\n"
_BOMB_SIDE = 60_000


@dataclass(frozen=True)
class Mistake:
    """A bad job: what is uploaded under the key of its image (None: nothing is) and what is published."""

    name: str
    reason: Reason
    key: str
    content: bytes | None
    value: bytes


def job(bucket: str, key: str) -> bytes:
    """A native job as JSON."""
    return msgspec.json.encode(JobMessage(schema="inspection.job/1", image=ImageReference(bucket, key)))


def mistakes(bucket: str, prefix: str) -> tuple[Mistake, ...]:
    """One job of each kind; images go below `prefix`, which ends with a slash."""

    def of_image(name: str, reason: Reason, file: str, content: bytes | None) -> Mistake:
        return Mistake(name, reason, prefix + file, content, job(bucket, prefix + file))

    elsewhere, broken = prefix + "elsewhere.jpg", prefix + "broken.json"
    return (
        of_image("missing object", "image_not_found", "never-uploaded.jpg", None),
        of_image("truncated JPEG", "image_undecodable", "truncated.jpg", truncated_jpeg()),
        of_image("HTML named .jpg", "image_format_unsupported", "error-page.jpg", _HTML),
        of_image("decompression bomb", "image_too_many_pixels", "bomb.png", bomb(_BOMB_SIDE)),
        Mistake("forbidden bucket", "bucket_not_allowed", elsewhere, None, job(FORBIDDEN_BUCKET, elsewhere)),
        Mistake("broken JSON", "schema_invalid", broken, None, job(bucket, broken)[:-12]),
    )


def truncated_jpeg() -> bytes:
    """The first third of a real one, as an upload that broke off leaves it."""
    whole = encode(render_part(0, 0), "jpg")
    return whole[: len(whole) // 3]


def bomb(side: int) -> bytes:
    """A PNG of some hundred bytes whose header claims `side` x `side` pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(bytes(999))) + _chunk(b"IEND")


def _chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
