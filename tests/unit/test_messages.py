"""Is what goes out what came in, byte for byte, and are outcomes told in the agreed words?"""

import hashlib
import json
from dataclasses import replace

import pytest
from msgspec import Raw

from consumer.errors import REASONS, RETRYABLE, Reason
from consumer.messages import (
    DeadLetter,
    Headers,
    Message,
    Parameters,
    Result,
    dead_letter_of,
    encode,
    encode_dead_letter,
    encode_result,
    result_id,
)
from tests.unit.samples import NATIVE, a_letter, a_record, a_result

ODD_KEY = b"\x00\xff key"
ODD_VALUE = b'\x00not json \xff\xfe {"'
ODD_HEADERS: Headers = (
    ("traceparent", b"00-abc"),
    ("empty", b""),
    ("null", None),
    ("binary", b"\xff\x00"),
    ("traceparent", b"00-abc again"),
    ("inspection-job-id", b"part-17"),
    ("inspection-error-reason", b"an older one"),
)


def headers_of(message: Message) -> dict[str, bytes | None]:
    return dict(message.headers)  # the last one of a name wins, as for Kafka's readers


# --- dead letters -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [ODD_VALUE, b"", None])
@pytest.mark.parametrize("key", [ODD_KEY, b"", None])
def test_a_dead_letter_keeps_key_value_and_headers_byte_for_byte(key: bytes | None, value: bytes | None) -> None:
    record = a_record(value, key=key, headers=ODD_HEADERS)
    message = encode_dead_letter(a_letter(record))

    assert (message.key, message.value) == (key, value)
    assert message.headers[: len(ODD_HEADERS)] == ODD_HEADERS


def test_a_dead_letter_says_what_went_wrong_and_where() -> None:
    record = a_record(headers=(("content-type", b"application/json"),))
    letter = a_letter(record, attempts=3, error="Rejected", message="s3://parts/ä.jpg is not there")

    assert headers_of(encode_dead_letter(letter)) == {
        "content-type": b"application/json",
        "__connect.errors.topic": b"inspection.jobs",
        "__connect.errors.partition": b"3",
        "__connect.errors.offset": b"1041",
        "__connect.errors.stage": b"fetch",
        "__connect.errors.exception.class.name": b"Rejected",
        "__connect.errors.exception.message": "s3://parts/ä.jpg is not there".encode(),
        "inspection-error-reason": b"image_not_found",
        "inspection-error-stage": b"fetch",
        "inspection-error-attempts": b"3",
        "inspection-error-retryable": b"true",
        "inspection-job-id": b"part-17",
    }


@pytest.mark.parametrize("reason", REASONS)
def test_a_dead_letter_says_whether_sending_it_again_may_help(reason: Reason) -> None:
    message = encode_dead_letter(a_letter(reason=reason))

    assert headers_of(message)["inspection-error-retryable"] == (b"true" if reason in RETRYABLE else b"false")
    assert message.reason == reason


def test_the_job_id_stands_once_when_the_job_brought_it_as_a_header() -> None:
    record = a_record(headers=(("inspection-job-id", b"part-17"),))
    names = [name for name, _ in encode_dead_letter(a_letter(record)).headers]
    assert names.count("inspection-job-id") == 1

    other = encode_dead_letter(a_letter(record, job_id="named by the field"))
    assert headers_of(other)["inspection-job-id"] == b"named by the field"


def test_a_dead_letter_of_a_record_of_several_jobs_says_which_one() -> None:
    assert "inspection-job-index" not in headers_of(encode_dead_letter(a_letter()))
    assert headers_of(encode_dead_letter(a_letter(index=0)))["inspection-job-index"] == b"0"


@pytest.mark.parametrize(
    ("reason", "value", "content_type"),
    [
        ("image_forbidden", NATIVE, b"application/json"),
        ("image_forbidden", b"\x12\x07\n\x05a.jpg", b"application/octet-stream"),
        ("schema_invalid", NATIVE, b"application/octet-stream"),
    ],
)
def test_a_dead_letter_claims_json_only_for_what_was_read_as_json(
    reason: Reason, value: bytes, content_type: bytes
) -> None:
    letter = a_letter(a_record(value), reason=reason)
    assert headers_of(encode_dead_letter(letter))["content-type"] == content_type


def test_an_endless_message_is_cut_and_what_is_no_unicode_replaced() -> None:
    message = encode_dead_letter(a_letter(message="x\udc80" * 5000))
    text = headers_of(message)["__connect.errors.exception.message"]

    assert text == b"x?" * 2048


def test_an_oversized_dead_letter_goes_without_its_value_and_says_so() -> None:
    value = b"v" * 5000
    record = a_record(value, headers=ODD_HEADERS)
    whole = encode_dead_letter(a_letter(record))
    assert encode_dead_letter(a_letter(record), max_bytes=whole.size) == whole

    message = encode_dead_letter(a_letter(record), max_bytes=whole.size - 1)

    assert (message.key, message.value) == (b"camera-7", None)
    assert message.headers[: len(ODD_HEADERS)] == ODD_HEADERS
    headers = headers_of(message)
    assert headers["inspection-original-omitted"] == b"true"
    assert headers["inspection-original-bytes"] == b"5000"
    assert headers["inspection-original-sha256"] == hashlib.sha256(value).hexdigest().encode()
    assert headers["__connect.errors.offset"] == b"1041"


def test_a_key_or_headers_that_fill_the_limit_alone_still_leave_the_coordinates() -> None:
    record = a_record(key=b"k" * 5000, headers=(("huge", b"h" * 5000),))
    message = encode_dead_letter(a_letter(record), max_bytes=2000)

    assert (message.key, message.value) == (None, None)
    assert message.size <= 2000
    headers = headers_of(message)
    assert "huge" not in headers
    assert headers["inspection-original-omitted"] == b"true"
    assert (headers["__connect.errors.partition"], headers["__connect.errors.offset"]) == (b"3", b"1041")


# --- results ------------------------------------------------------------------------------------------------------


def test_a_result_carries_the_jobs_key_and_its_trace() -> None:
    record = a_record(
        headers=(("traceparent", b"00-a"), ("secret", b"s"), ("tracestate", None), ("inspection-job-id", b"part-17"))
    )
    message = encode_result(a_result(record))

    assert message.key == b"camera-7"
    assert message.reason is None
    assert message.headers == (
        ("content-type", b"application/json"),
        ("inspection-job-id", b"part-17"),
        ("traceparent", b"00-a"),
        ("tracestate", None),
    )


def test_a_result_has_the_agreed_fields() -> None:
    body = json.loads(encode_result(a_result(metadata=Raw(b'{"line": 3}'))).value or b"")

    assert body == {
        "schema": "inspection.result/1",
        "job_id": "inspection.jobs/3/1041",
        "image": {
            "bucket": "parts",
            "key": "line-3/0001.jpg",
            "version_id": None,
            "etag": '"e1"',
            "sha256": "a" * 64,
            "bytes": 81234,
            "width": 1920,
            "height": 1080,
        },
        "model": {
            "name": "parts",
            "sha256": "b" * 64,
            "task": "detect",
            "engine": "openvino",
            "precision": "f32",
            "image_size": 640,
            "shapes": "square",
            "decode": "exact",
        },
        "detections": [
            {"class_id": 4, "class_name": "scratch", "confidence": 0.87512, "box": [10.25, 20.5, 110.0, 220.75]}
        ],
        "parameters": {"confidence": 0.25, "iou": 0.7, "max_detections": 300, "classes": [1, 4]},
        "metadata": {"line": 3},
        "source": {
            "topic": "inspection.jobs",
            "partition": 3,
            "offset": 1041,
            "index": 0,
            "timestamp_ms": 1_700_000_000_000,
        },
        "result_id": "f8cccac0f85c17b3594e362fc3076e5c508961eeba85c9f31d47392be8067c6a",
        "timings_ms": {"queue": 0.5, "fetch": 12.0, "decode": 8.25, "detect": 20.0, "total": 41.5},
        "worker": {"host": "host-1", "version": "0.1.0"},
    }


def test_an_image_without_detections_yields_a_result_with_an_empty_list() -> None:
    body = json.loads(encode_result(a_result(detections=0)).value or b"")

    assert body["detections"] == []
    assert "metadata" not in body


def test_a_result_id_is_the_digest_of_canonical_json() -> None:
    canonical = (
        '["Teil ä","aa","bb",{"classes":null,"confidence":0.25,"iou":0.7,"max_detections":300}]'  # sorted, no spaces
    )
    parameters = Parameters(0.25, 0.7, 300)

    assert result_id("Teil ä", "aa", "bb", parameters) == hashlib.sha256(canonical.encode()).hexdigest()
    assert (
        result_id("part-17", "a" * 64, "b" * 64, Parameters(0.25, 0.7, 300, (1, 4)))
        == "d3bc0be54bbacf9ecbfce2b7c9844e03192394475a974647ddf67c9fdde3f71c"
    )


# --- outcomes that cannot be delivered ----------------------------------------------------------------------------


def test_a_result_over_its_topics_limit_becomes_a_dead_letter_with_the_whole_job() -> None:
    result = a_result(detections=100)
    size = encode_result(result).size
    assert encode(result, max_result_bytes=size, max_dead_letter_bytes=10_000).reason is None

    message = encode(result, max_result_bytes=size - 1, max_dead_letter_bytes=10_000)

    assert (message.reason, message.value) == ("result_too_large", NATIVE)
    assert headers_of(message)["inspection-error-stage"] == b"deliver"
    assert f"limit {size - 1} (max.message.bytes" in str(headers_of(message)["__connect.errors.exception.message"])


@pytest.mark.parametrize(("siblings", "index"), [(1, None), (3, 2)])
def test_the_dead_letter_of_a_result_knows_its_place_among_several_jobs(siblings: int, index: int | None) -> None:
    result = a_result()
    one_of = Result(replace(result.job, index=2, siblings=siblings), result.body)

    assert dead_letter_of(one_of, "result_too_large", "deliver", "…").index == index


def test_a_dead_letter_that_the_broker_refuses_keeps_its_reason_and_loses_its_value() -> None:
    letter = a_letter()
    again = dead_letter_of(letter, "result_too_large", "deliver", "the broker refused it")
    message = encode(again, max_result_bytes=1_000_000, max_dead_letter_bytes=1_000_000)

    assert isinstance(again, DeadLetter)
    assert (message.reason, message.key, message.value) == ("image_not_found", b"camera-7", None)
    assert headers_of(message)["inspection-original-omitted"] == b"true"
    assert encode_dead_letter(again) == message


def test_the_size_is_never_less_than_what_the_broker_counts() -> None:
    """61 bytes of batch, up to 36 of the record's own numbers, lengths before each name and value."""
    message = Message(a_letter(), b"key", b"value", (("ä", b"12"), ("none", None)))

    assert message.size == 3 + 5 + (2 + 2 + 10) + (4 + 0 + 10) + 128
    assert Message(a_letter(), None, None, ()).size == 128


def test_of_headers_with_one_name_the_last_counts() -> None:
    record = a_record(headers=(("a", b"1"), ("a", b"2"), ("b", None)))

    assert (record.header("a"), record.header("b"), record.header("c")) == (b"2", None, None)
