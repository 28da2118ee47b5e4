"""What is a case of a hostile record, and what is the good job that the bad ones are made from?"""

import json
from dataclasses import dataclass
from typing import Any, Literal

BUCKET = "hostile"
GOOD = "good.jpg"  # the one image that is there
MAX_BYTES = 1_048_588  # Kafka's default for a record
RESULT, SCHEMA, NOT_FOUND = "result", "schema_invalid", "image_not_found"

Headers = tuple[tuple[str, bytes | None], ...]
Where = Literal["intake", "inspector", "store"]


@dataclass(frozen=True)
class MessageCase:
    """One record. `outcomes` has one for each of its jobs, a single one if the whole record is refused, and none if it
    asks for nothing. `where` says who judges: reading the record is enough, or it takes the model
    and the topics, or this store, which answers some things with a 400 that is not told from an outage."""

    name: str
    value: bytes | None
    outcomes: tuple[str, ...]
    key: bytes | None = b"camera-7"
    headers: Headers = ()
    where: Where = "intake"


def good(name: str, value: bytes | None, **details: Any) -> MessageCase:
    return MessageCase(name, value, (RESULT,), **details)


def bad(name: str, value: bytes | None, outcome: str = SCHEMA, **details: Any) -> MessageCase:
    return MessageCase(name, value, (outcome,), **details)


def job(**fields: Any) -> bytes:
    """A native job for the image that is there, with some fields changed."""
    return json.dumps({"schema": "inspection.job/1", "image": f"s3://{BUCKET}/{GOOD}"} | fields).encode()


def image(key: Any = GOOD, bucket: Any = BUCKET, **fields: Any) -> bytes:
    return job(image={"bucket": bucket, "key": key} | fields)


def raw(field: str, text: bytes) -> bytes:
    """A job with a field whose JSON is given as it is."""
    return job()[:-1] + f', "{field}": '.encode() + text + b"}"


def parameters(**fields: Any) -> bytes:
    return job(parameters=fields)
