"""Which images and jobs does a test publish?"""

import json
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from tests.rigs.outcomes import Source
from tests.rigs.s3 import S3Server
from tests.rigs.topics import Topics

SIZES = ((640, 480), (480, 640), (320, 320), (1280, 720), (97, 33))
STAND_IN = {"engine": "tests.stand_ins:null_engine"}


def picture(width: int, height: int, *, seed: int = 0) -> bytes:
    """A smooth JPEG of this size, another one for each seed."""
    rough = np.random.default_rng(seed).integers(0, 256, (max(2, height // 16), max(2, width // 16), 3), np.uint8)
    smooth = cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)
    return bytes(cv2.imencode(".jpg", smooth)[1])


def red_picture(side: int = 64) -> bytes:
    """A JPEG that is a bad image to the stand-ins (tests/stand_ins.py)."""
    red = np.zeros((side, side, 3), np.uint8)
    red[:, :, 2] = 255
    return bytes(cv2.imencode(".jpg", red)[1])


def put_pictures(s3: S3Server, bucket: str) -> list[str]:
    """Images of several sizes and shapes; returns their keys."""
    keys = [f"{width}x{height}.jpg" for width, height in SIZES]
    for seed, (key, (width, height)) in enumerate(zip(keys, SIZES, strict=True)):
        s3.put(bucket, key, picture(width, height, seed=seed))
    return keys


def job(bucket: str, key: str, **fields: Any) -> bytes:
    """A native job as JSON."""
    return json.dumps({"schema": "inspection.job/1", "image": {"bucket": bucket, "key": key}, **fields}).encode()


@dataclass(frozen=True)
class Published:
    """What was published: where each job lies, and which dead letter each bad one must become."""

    sources: list[Source]
    reasons: dict[Source, str]


def publish_mixed(topics: Topics, bucket: str, keys: list[str], count: int) -> Published:
    """`count` jobs round robin over the partitions, 2 % of them bad in three ways."""
    bad = {
        0: (job(bucket, "missing.jpg"), "image_not_found"),
        1: (b"{broken", "schema_invalid"),
        2: (job("elsewhere", keys[0]), "bucket_not_allowed"),
    }
    values, reasons = [], {}
    for number in range(count):
        value = job(bucket, keys[number % len(keys)], metadata={"number": number})
        if number % 50 == 7:
            value, reasons[number] = bad[number // 50 % len(bad)]
        values.append(value)
    sources = topics.publish(values)
    return Published(sources, {sources[number]: reason for number, reason in reasons.items()})


def settings_for(topics: Topics, s3: S3Server, bucket: str, /, **sections: dict[str, Any]) -> dict[str, Any]:
    """Settings of a consumer with the stand-in engine; `sections` are merged in, key by key."""
    settings: dict[str, Any] = {
        **topics.settings,
        "s3": {"endpoint_url": s3.endpoint_url},
        "images": {"allowed_buckets": [bucket]},
        "model": STAND_IN,
    }
    return settings | {name: {**settings.get(name, {}), **section} for name, section in sections.items()}
