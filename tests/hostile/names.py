"""Which jobs have keys, buckets, headers or ids that play tricks?"""

from collections.abc import Iterator

from tests.hostile.message_case import BUCKET, NOT_FOUND, Headers, MessageCase, bad, good, image, job, raw


def odd_keys() -> Iterator[MessageCase]:
    tricks = {
        "up": "../other/good.jpg",
        "up inside": "a/../good.jpg",
        "up at the end": "a/..",
        "two points": "..",
        "point": ".",
        "point inside": "./good.jpg",
        "slash": "/",
        "slashes": "////",
        "line break": "good.jpg\r\nHost: x",
        "zero": "good.jpg\u0000.png",
        "tab": "good\tx.jpg",
        "delete": "good.jpg\u007f",
        "bell": "\u0007",
        "1025 bytes": "k" * 1025,
        "a megabyte": "k" * 1_000_000,
        "1026 bytes in 513 letters": "ä" * 513,
    }
    for name, key in tricks.items():
        yield bad(f"key with {name}", image(key))
    for name, escape in {
        "half a pair": b"\\ud800",
        "the other half": b"\\udc00",
        "a pair in reverse": b"\\udc00\\ud800",
    }.items():
        yield bad(f"key with {name}", image("HERE").replace(b"HERE", escape))
    other = {
        "up in percent": "%2e%2e/good.jpg",
        "up in double percent": "%252e%252e/good.jpg",
        "three points": ".../good.jpg",
        "slash before": "/missing.jpg",
        "slash behind": "missing.jpg/",
        "slashes inside": "a//b.jpg",
        "percent": "100%.jpg",
        "zero in percent": "good.jpg%00",
        "plus": "a+b.jpg",
        "query": "good.jpg?versionId=1",
        "fragment": "good.jpg#x",
        "right to left": "\u202egpj.doog",
        "joiner": "go\u200bod.jpg",
        "accent": "u\u0308.jpg",
        "fullwidth points": "\uff0e\uff0e/good.jpg",
        "emoji": "😀" * 250,
        "markup": "<script>alert(1)</script>.jpg",
        "template": "${jndi:ldap://x}/{{7*7}}.jpg",
        "quotes": "a'b\"c`d.jpg",
        "other case": "GOOD.JPG",
        "no character": "\uffff",
        "address": "s3://hostile/good.jpg",
        "url": "https://example.org/good.jpg",
        "file": "file:///etc/passwd",
    }
    for name, key in other.items():
        yield bad(f"key with {name}", image(key), NOT_FOUND)
    yield bad("key with backslashes", image("..\\good.jpg"), "image_unavailable", where="store")
    yield bad("forbidden bucket", image(bucket="secrets"), "bucket_not_allowed")
    yield bad("forbidden bucket by address", job(image="s3://secrets/good.jpg"), "bucket_not_allowed")
    buckets = (
        f"{BUCKET}/",
        f"{BUCKET}/..",
        "../secrets",
        "HOSTILE",
        f"{BUCKET}\u0000",
        f"{BUCKET}.",
        f" {BUCKET}",
        "*",
        "b" * 10_000,
    )
    for name in (*buckets, f"{BUCKET}@evil.example", "127.0.0.1:8333"):
        yield bad(f"bucket {name[:30]!r}", image(bucket=name), "bucket_not_allowed")


def odd_headers() -> Iterator[MessageCase]:
    one = ("inspection-job-id", "inspection-job-index", "traceparent", "content-type", "inspection-error-reason")
    for name in one:
        yield good(f"header {name} null", job(), headers=((name, None),))
    for name, value in {"invalid utf-8": b"\xff\xfe", "empty": b"", "zero": b"\x00", "500 KB": b"x" * 500_000}.items():
        yield good(f"job id in a header, {name}", job(), headers=(("inspection-job-id", value),))
    for value in (b"1", b"-1", b"x", b"", b"\xff", b"99999999999999999999", b"0x0", "٠".encode()):
        yield bad(f"index {value!r}", job(), headers=(("inspection-job-index", value),))
    yield good("index 0", job(), headers=(("inspection-job-index", b"0"),))
    yield good("trace of noise", job(), headers=(("traceparent", b"\xff" * 100), ("tracestate", b"\x00")))
    yield good("trace of 500 KB", job(), headers=(("traceparent", b"0" * 500_000),))
    yield bad(
        "trace that leaves no room",
        job(),
        "result_too_large",
        headers=(("tracestate", b"0" * 1_048_200),),
        where="inspector",
    )
    yield good("a thousand headers", job(), headers=(("a", b"b"),) * 1000)
    yield good("headers without name", job(), headers=(("", b"b"), ("", None)))
    yield good("header of other scripts", job(), headers=(("überschrift 😀", "ü".encode()),))
    faked: Headers = tuple(
        (name, b"\xff no outcome")
        for name in (
            "__connect.errors.topic",
            "__connect.errors.offset",
            "inspection-error-reason",
            "inspection-redriven-from",
        )
    )
    yield good("headers of an outcome", job(), headers=faked)
    yield bad("headers of an outcome, refused", b"{", headers=faked)
    yield bad("refused with headers of 900 KB", b"{", headers=(("a", b"x" * 900_000),))
    yield good("job id of 500 KB", job(job_id="j" * 500_000))
    yield bad("job id of 900 KB", job(job_id="j" * 900_000), "result_too_large", where="inspector")
    yield good("job id of noise", job(job_id="\u0000\r\n\u202e😀"))
    yield bad("job id with half a pair", raw("job_id", b'"\\ud800"'))
