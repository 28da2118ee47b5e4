"""Which jobs flow through a cell, and what must become of each?"""

import json
import zlib
from dataclasses import dataclass
from enum import Enum

from tests.rigs.jobs import job, picture, red_picture
from tests.rigs.s3 import S3Server

SIZES = ((64, 64), (96, 64), (64, 96), (120, 80), (50, 17))
RED = "red.jpg"
GRACE = 0.3  # images.not_found_grace of the cells: a missing image holds up its partition for as long


class Wrong(Enum):
    """The bad jobs that are mixed in, by the reason that each dead letter must have."""

    MISSING = "image_not_found"
    BROKEN = "schema_invalid"
    ELSEWHERE = "bucket_not_allowed"
    RED = "engine_failed"


EVERY = 50  # one job of so many is bad


@dataclass(frozen=True, slots=True)
class Draft:
    """A job before it is published. `print_` is by what its outcome is known to be its own."""

    value: bytes
    reason: str | None
    print_: str


class Jobs:
    """Job number n is the same one in every run: mostly a good one, one in fifty bad in one of four ways."""

    def __init__(self, bucket: str, keys: list[str], *, wrongs: tuple[Wrong, ...] = tuple(Wrong)) -> None:
        self._bucket = bucket
        self.keys = keys
        self._wrongs = wrongs

    def draft(self, number: int) -> Draft:
        if number % EVERY != 7:
            key = self.keys[number % len(self.keys)]
            return Draft(job(self._bucket, key, metadata={"number": number}), None, f"{number} {key}")
        wrong = self._wrongs[number // EVERY % len(self._wrongs)]
        value = self._bad(wrong, number)
        return Draft(value, wrong.value, print_of(value))

    def _bad(self, wrong: Wrong, number: int) -> bytes:
        match wrong:
            case Wrong.MISSING:
                return job(self._bucket, f"missing-{number}.jpg")
            case Wrong.BROKEN:
                return b'{"number": %d, broken' % number
            case Wrong.ELSEWHERE:
                return job("elsewhere", self.keys[0], metadata={"number": number})
            case Wrong.RED:
                return job(self._bucket, RED, metadata={"number": number})


def print_of(value: bytes | None) -> str:
    """A dead letter's: it holds its job byte for byte."""
    return f"={zlib.crc32(value or b'')}"


def print_and_answer(value: bytes | None) -> tuple[str, str]:
    """A result's: the number and key of its job, and what the engine answered, in short."""
    result = json.loads(value or b"null")
    answer = zlib.crc32(json.dumps(result["detections"]).encode())
    return f"{(result['metadata'] or {}).get('number')} {result['image']['key']}", str(answer)


def put_images(store: S3Server, bucket: str) -> list[str]:
    """Small images, so that a cell is about jobs and not about pixels; returns the keys of the good ones."""
    keys = [f"{width}x{height}.jpg" for width, height in SIZES]
    for seed, (key, (width, height)) in enumerate(zip(keys, SIZES, strict=True)):
        store.put(bucket, key, picture(width, height, seed=seed))
    store.put(bucket, RED, red_picture())
    return keys
