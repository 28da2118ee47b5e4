"""Which values are no job, or an odd one, by their bytes, their JSON or their fields?"""

import json
from collections.abc import Iterator
from typing import Any

from tests.hostile.message_case import BUCKET, GOOD, MessageCase, bad, good, image, job, parameters, raw


def odd_bytes() -> Iterator[MessageCase]:
    yield bad("null", None)
    yield bad("null everywhere", None, key=None)
    yield bad("empty", b"")
    yield bad("empty under an empty key", b"", key=b"")
    yield good("no key", job(), key=None)
    yield good("key of noise", job(), key=bytes(range(256)))
    yield good("long key", job(), key=b"k" * 100_000)
    yield good("key of a path", job(), key=b"/buckets/hostile/good.jpg")
    yield bad("invalid utf-8", b"\xff\xfe\xfd")
    yield bad("invalid utf-8 in a text", raw("metadata", b'"\xc3"'))
    yield bad("overlong utf-8", raw("metadata", b'"\xc0\xaf"'))
    yield bad("surrogate in utf-8", raw("metadata", b'"\xed\xa0\x80"'))
    yield bad("byte order mark", b"\xef\xbb\xbf" + job())
    yield bad("utf-16", job().decode().encode("utf-16"))
    yield bad("utf-16 without mark", job().decode().encode("utf-16-le"))
    yield bad("utf-32", job().decode().encode("utf-32"))
    yield bad("zeros", bytes(1000))
    yield bad("zero behind", job() + b"\x00")
    yield bad("gzip", b"\x1f\x8b\x08\x00" + bytes(50))
    yield bad("protobuf", b"\x0a\x05hello\x10\x96\x01")
    yield bad("avro with a schema id", b"\x00\x00\x00\x00\x07" + job())
    yield bad("a jpeg", b"\xff\xd8\xff\xe0" + bytes(500))
    yield bad("a megabyte of noise", bytes(range(256)) * 4000)


def odd_json() -> Iterator[MessageCase]:
    texts = ("null", "true", "5", '"s3://hostile/good.jpg"', "[]", "{}", "[[]]", "NaN", "{", "}", '{"a"', "{'a': 1}")
    for text in texts:
        yield bad(f"only {text}", text.encode())
    yield bad("two jobs", job() + job())
    yield bad("lines of jobs", job() + b"\n" + job())
    yield bad("list of jobs", b"[" + job() + b"]")
    yield bad("comma too many", job()[:-1] + b",}")
    yield bad("comment", b"/* job */" + job())
    yield good("white space", b" \t\r\n" + job() + b" \r\n")
    for depth in (129, 10_000, 400_000):
        yield bad(f"{depth} lists deep", raw("metadata", b"[" * depth + b"]" * depth))
    yield bad("deep and without end", b"[" * 1_000_000)
    yield bad("objects without end", b'{"a":' * 200_000)
    yield good("127 lists deep", raw("metadata", b"[" * 127 + b"]" * 127))
    yield bad("deep text without end", b"[" * 200 + b'"' + b'\\"' * 400_000)
    yield bad("deep backslashes without end", b"[" * 200 + b'"' + b"\\" * 800_001)
    yield good("brackets in a text", raw("metadata", b'"' + b"[{" * 100_000 + b'"'))
    yield good("many fields", job(**{f"field {number}": number for number in range(20_000)}))
    yield good("long unknown field", job(**{"x" * 500_000: 1}))
    yield good("image named twice", b'{"image": "s3://hostile/missing.jpg", ' + job()[1:])
    yield bad("schema named twice", raw("schema", b'"inspection.job/2"'))
    yield good("names in escapes", job().replace(b'"image"', b'"\\u0069mage"'))
    yield good("prototype", raw("__proto__", b'{"image": "s3://elsewhere/x"}'))


def wrong_types() -> Iterator[MessageCase]:
    """A wrong type for every field of the schema, and values of the right type that are wrong."""
    wrong: dict[str, tuple[Any, ...]] = {
        "schema": (None, 1, True, "", "inspection.job/2", "Inspection.Job/1", "inspection.job/1 ", [], {}),
        "image": (
            None,
            5,
            1.5,
            True,
            [],
            {},
            "",
            "good.jpg",
            "s3://",
            "s3://hostile",
            "s3:///good.jpg",
            "S3://hostile/a",
        ),
        "image.bucket": (None, 5, True, "", [], {}),
        "image.key": (None, 5, True, "", [], {}),
        "image.version_id": (5, True, [], {}),
        "image.etag": (5, True, [], {}),
        "job_id": (5, True, "", [], {}),
        "parameters": (5, "x", True, []),
        "parameters.confidence": ("0.5", True, -0.1, 1.1, [], {}),
        "parameters.iou": ("0.5", True, -0.1, 1.1, [], {}),
        "parameters.max_detections": ("5", True, 0, -1, 1.5, 100_001, 2**64, 10**30, [], {}),
        "parameters.classes": (5, "scratch", True, {}, [1.5], [None], [[]], [True], [{}]),
    }
    for field, values in wrong.items():
        for value in values:
            yield bad(f"{field} is {json.dumps(value)}", _with(field, value))
    yield bad("class that is not there", parameters(classes=[99]), where="inspector")
    yield bad("class of 30 digits", parameters(classes=[10**30]), where="inspector")
    yield bad("class below zero", parameters(classes=[-1]), where="inspector")
    yield bad("class without a name", parameters(classes=["\u0000"]), where="inspector")
    yield good("no class", parameters(classes=[]))
    yield good("one class, 20000 times", parameters(classes=[1] * 20_000))
    yield bad("etag that is none", image(etag='"\r\nRange: bytes=0-1'), where="store")
    yield bad("etag of another object", image(etag="0" * 32), "image_changed", where="store")
    yield bad("version of a path", image(version_id="../../x"), "image_unavailable", where="store")


def _with(field: str, value: Any) -> bytes:
    section, _, name = field.partition(".")
    if not name:
        return job(**{section: value})
    whole = {"bucket": BUCKET, "key": GOOD} if section == "image" else {}
    return job(**{section: whole | {name: value}})


def odd_numbers() -> Iterator[MessageCase]:
    digits = b"1" + b"0" * 5000
    for field in ("confidence", "max_detections", "classes"):
        for name, number in {
            "of 5000 digits": digits,
            "1e400": b"1e400",
            "NaN": b"NaN",
            "-Infinity": b"-Infinity",
        }.items():
            text = b"[" + number + b"]" if field == "classes" else number
            yield bad(f"{field} {name}", raw("parameters", b'{"' + field.encode() + b'": ' + text + b"}"))
    yield bad("confidence 0x1", raw("parameters", b'{"confidence": 0x1}'))
    yield bad("confidence 01", raw("parameters", b'{"confidence": 01}'))
    yield good(
        "confidence of 5000 digits behind the point", raw("parameters", b'{"confidence": 0.' + b"3" * 5000 + b"}")
    )
    yield good("confidence next to nothing", raw("parameters", b'{"confidence": 1e-400}'))
    yield good("confidence less than zero by its sign", raw("parameters", b'{"confidence": -0.0}'))


def odd_metadata() -> Iterator[MessageCase]:
    yield good("metadata of 5000 digits", raw("metadata", b"1" + b"0" * 5000))
    yield good("metadata 1e400", raw("metadata", b"1e400"))
    yield good("metadata of a million bytes", job(metadata="m" * 1_000_000))
    yield bad("metadata that leaves no room", job(metadata="m" * 1_048_000), "result_too_large", where="inspector")
    yield good("metadata in escapes", raw("metadata", b'"' + b"\\u0000" * 100_000 + b'"'))
    yield good(
        "metadata of other scripts", job(metadata={"\u202eabc": "\u0645\u0631\u062d\u0628\u0627", "😀": "\u200b"})
    )
    for text in ("NaN", "Infinity", "-Infinity", '"\\ud800"', '"\\udc00 \\ud800"', '"\\x"', "tru", '"a\nb"', "01", ""):
        yield bad(f"metadata {text!r}", raw("metadata", text.encode()))
