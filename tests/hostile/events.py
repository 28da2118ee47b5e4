"""Which events of a store are broken?"""

import base64
import json
from collections.abc import Iterator
from typing import Any

from tests.hostile.message_case import BUCKET, GOOD, NOT_FOUND, RESULT, MessageCase, bad, good


def _event(key: Any = GOOD, *, bucket: Any = BUCKET, **fields: Any) -> dict[str, Any]:
    stored = {"bucket": {"name": bucket}, "object": {"key": key}}
    return {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": stored} | fields


def _records(*records: Any) -> bytes:
    return json.dumps({"Records": records}).encode()


def broken_events() -> Iterator[MessageCase]:
    yield good("event", _records(_event()))
    yield MessageCase(
        "events",
        _records(_event(), _event("missing.jpg"), _event(bucket="secrets")),
        (RESULT, NOT_FOUND, "bucket_not_allowed"),
    )
    yield MessageCase("hundred events", _records(*[_event()] * 100), (RESULT,) * 100)
    yield MessageCase("test event", b'{"Event": "s3:TestEvent"}', ())
    yield MessageCase("removal", _records(_event(eventName="ObjectRemoved:Delete")), ())
    yield MessageCase("removal of nothing", _records({"eventName": "ObjectRemoved:Delete"}), ())
    yield bad("101 events", _records(*[_event()] * 101))
    lists: dict[str, Any] = {
        "null": None,
        "a text": "x",
        "an object": {},
        "empty": [],
        "of nulls": [None],
        "of lists": [[]],
    }
    for name, records in lists.items():
        yield bad(f"events {name}", json.dumps({"Records": records}).encode())
    broken: dict[str, dict[str, Any]] = {
        "without name": {"eventName": None},
        "of a number": {"eventName": 5},
        "with an empty name": {"eventName": ""},
        "without s3": {"s3": None},
        "of a text": {"s3": "x"},
        "without object": {"s3": {"bucket": {"name": BUCKET}}},
        "without bucket": {"s3": {"object": {"key": GOOD}}},
        "with a number for a source": {"eventSource": 7},
        "of a text for who did it": {"userIdentity": "x"},
    }
    for name, fields in broken.items():
        yield bad(f"event {name}", _records(_event(**fields)))
    keys: tuple[Any, ...] = (None, 5, "", [], "a b.jpg", "ü.jpg", "100%", "%zz", "%ff", "k" * 1025, "%C3%BC" * 600)
    for key in keys:
        yield bad(f"event of {json.dumps(key)[:40]}", _records(_event(key)))
    yield bad("event of a store nobody knows", _records(_event("a%20b.jpg", eventSource="other:s3")))
    for key in ("..%2Fgood.jpg", "a%00b", "%2F", "good.jpg%0D%0AHost:%20x", "../good.jpg"):
        yield bad(f"event of {key}", _records(_event(key)))
    yield bad("one broken event of three", _records(_event(), {"eventName": "ObjectCreated:Put"}, _event()))
    yield bad("event in an index that it has not", _records(_event()), headers=(("inspection-job-index", b"1"),))
    yield MessageCase(
        "one event of three", _records(*[_event()] * 3), (RESULT,), headers=(("inspection-job-index", b"2"),)
    )
    bridged: dict[str, Any] = {
        "detail-type": "Object Created",
        "detail": {"bucket": {"name": BUCKET}, "object": {"key": GOOD}},
    }
    yield good("bridged event", json.dumps(bridged).encode())
    yield bad("bridged event without detail", b'{"detail-type": "Object Created"}')
    yield bad("bridged event of a number", b'{"detail-type": 5}')
    yield bad("bridged event of a path", json.dumps(bridged).replace(GOOD, "../x").encode())
    cloud: dict[str, Any] = {"specversion": "1.0", "type": "x", "source": "y", "id": "1"}
    packed = base64.b64encode(_records(_event())).decode()
    yield good("cloud event", json.dumps(cloud | {"data_base64": packed}).encode())
    for name, data in {
        "of no base64": "é",
        "cut": packed[:-3],
        "of a number": 5,
        "of noise": "/////w==",
        "deep": _deep(),
    }.items():
        yield bad(f"cloud event {name}", json.dumps(cloud | {"data_base64": data}).encode())
    yield bad("cloud event of nothing", json.dumps(cloud).encode())
    yield bad(
        "cloud event in a cloud event", json.dumps(cloud | {"data": cloud | {"data": {"Records": [_event()]}}}).encode()
    )


def _deep() -> str:
    return base64.b64encode(b"[" * 100_000).decode()
