"""Does a row say all that its record says, and can no record break the audit?"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from consumer.audit.columns import JOBS, OUTCOMES
from consumer.audit.rows import dead_letter_row, dead_letter_rows, job_row, job_rows, result_row, result_rows
from consumer.messages import Message, Record, encode_dead_letter, encode_result
from tests.unit.samples import NATIVE, a_letter, a_record, a_result

EVENTS = msgspec.json.encode(
    {
        "Records": [
            {
                "eventSource": "aws:s3",
                "eventName": name,
                "s3": {"bucket": {"name": "parts"}, "object": {"key": f"{number}.jpg"}},
            }
            for number, name in enumerate(["ObjectCreated:Put", "ObjectRemoved:Delete", "ObjectCreated:Put"])
        ]
    }
)


def lying(message: Message, topic: str = "inspection.results") -> Record:
    return Record(topic, 2, 77, 1_700_000_000_123, message.key, message.value, message.headers)


def test_a_result_s_row_says_what_was_seen_with_which_weights_and_how_long_it_took() -> None:
    row = result_row(lying(encode_result(a_result(metadata=Raw(b'{"line": 3}')))))

    assert row.keys() <= set(OUTCOMES)
    assert row == {
        "topic": "inspection.results",
        "partition": 2,
        "offset": 77,
        "time": 1_700_000_000_123,
        "record_key": b"camera-7",
        "kind": "result",
        "job_id": "inspection.jobs/3/1041",
        "source_topic": "inspection.jobs",
        "source_partition": 3,
        "source_offset": 1041,
        "source_index": 0,
        "source_time": 1_700_000_000_000,
        "bucket": "parts",
        "key": "line-3/0001.jpg",
        "version_id": None,
        "etag": '"e1"',
        "sha256": "a" * 64,
        "bytes": 81234,
        "width": 1920,
        "height": 1080,
        "model": "parts",
        "model_sha256": "b" * 64,
        "task": "detect",
        "engine": "openvino",
        "precision": "f32",
        "image_size": 640,
        "shapes": "square",
        "decode": "exact",
        "confidence_threshold": 0.25,
        "iou_threshold": 0.7,
        "max_detections": 300,
        "class_filter": [1, 4],
        "detections": [
            {
                "class_id": 4,
                "class_name": "scratch",
                "confidence": 0.87512,
                "x1": 10.25,
                "y1": 20.5,
                "x2": 110.0,
                "y2": 220.75,
            }
        ],
        "classes": ["scratch"],
        "count": 1,
        "top_confidence": 0.87512,
        "result_id": row["result_id"],
        "queue_ms": 0.5,
        "fetch_ms": 12.0,
        "decode_ms": 8.25,
        "detect_ms": 20.0,
        "total_ms": 41.5,
        "host": "host-1",
        "version": "0.1.0",
        "metadata": '{"line": 3}',
    }


def test_a_result_without_detections_is_a_row_with_none() -> None:
    row = result_row(lying(encode_result(a_result(detections=0))))

    assert (row["count"], row["classes"], row["detections"], row["top_confidence"]) == (0, [], [], None)


def test_a_dead_letter_s_row_has_the_original_and_what_its_job_says() -> None:
    record = a_record(
        b'{"schema": "inspection.job/1", "image": "s3://parts/a.jpg", "metadata": {"line": 3}}',
        headers=(("traceparent", b"00-1"),),
    )
    row = dead_letter_row(lying(encode_dead_letter(a_letter(record, attempts=4)), "inspection.dead-letters"))

    assert row.keys() <= set(OUTCOMES)
    assert {name: row[name] for name in ("kind", "reason", "stage", "attempts", "retryable", "job_id")} == {
        "kind": "dead_letter",
        "reason": "image_not_found",
        "stage": "fetch",
        "attempts": 4,
        "retryable": True,
        "job_id": "part-17",
    }
    assert (row["source_topic"], row["source_partition"], row["source_offset"]) == ("inspection.jobs", 3, 1041)
    assert (row["bucket"], row["key"], row["metadata"]) == ("parts", "a.jpg", '{"line": 3}')
    assert (row["original"], row["original_omitted"]) == (record.value, False)
    assert {"name": "traceparent", "value": b"00-1"} in row["original_headers"]
    assert row["error_message"] == "s3://parts/x.jpg is not there"
    assert row["error_class"] == "Rejected"


def test_a_dead_letter_of_one_of_several_jobs_has_that_job_s_image() -> None:
    letter = a_letter(a_record(EVENTS), index=2)
    row = dead_letter_row(lying(encode_dead_letter(letter), "inspection.dead-letters"))

    assert (row["source_index"], row["key"]) == (2, "2.jpg")


def test_a_job_s_row_has_every_job_that_its_record_opens_and_why_others_are_none() -> None:
    assert job_row(a_record())["jobs"] == [{"index": 0, "job_id": "inspection.jobs/3/1041"}]

    row = job_row(a_record(EVENTS))
    assert [one["index"] for one in row["jobs"]] == [0, 2]
    assert row["jobs"][1]["job_id"] == "inspection.jobs/3/1041/2"
    assert row["skipped"] == ["removal"]


@pytest.mark.parametrize("index", [None, b"1", b"7"])
def test_a_record_that_cannot_be_read_is_one_job_as_it_gets_one_dead_letter(index: bytes | None) -> None:
    """With the index that its dead letter will be read with, whatever a header says."""
    headers = (("inspection-job-id", b"part-9"), *([("inspection-job-index", index)] if index else []))
    record = a_record(b"{broken", headers=headers)
    letter = a_letter(record, job_id="part-9", reason="schema_invalid", stage="intake")
    outcome = dead_letter_row(lying(encode_dead_letter(letter), "inspection.dead-letters"))

    assert job_row(record)["jobs"] == [{"index": outcome["source_index"], "job_id": outcome["job_id"]}]


@pytest.mark.parametrize(
    "value", [None, b"", b"{", b"\xff\xfe", b"[]", NATIVE, b'{"schema": "inspection.result/2"}', b"[" * 100_000]
)
def test_what_is_no_outcome_is_a_row_with_its_bytes(value: bytes | None) -> None:
    record = lying(Message(a_letter(), None, value, ()))

    for row in (result_row(record), dead_letter_row(record)):
        assert (row["kind"], row["original"], row["offset"]) == ("foreign", value, 77)
        assert "inspection.results/2/77" in row["error_message"]


def test_numbers_that_no_column_holds_are_null_and_stop_nothing() -> None:
    body = msgspec.to_builtins(a_result().body) | {"detections": []}
    body["image"] |= {"width": 10**12, "bytes": 2**63}
    record = Record("inspection.results", 2, 77, 9_223_372_036_854_775_807, None, msgspec.json.encode(body))

    (row,) = result_rows([record]).to_dicts()

    assert (row["width"], row["bytes"], row["height"]) == (None, None, 1080)
    assert row["time"].year == 9999


@pytest.mark.parametrize(
    ("rows", "schema", "record"),
    [
        (job_rows, JOBS, a_record()),
        (result_rows, OUTCOMES, lying(encode_result(a_result()))),
        (dead_letter_rows, OUTCOMES, lying(encode_dead_letter(a_letter()))),
    ],
)
def test_frames_have_the_schema_and_the_order_of_the_records(rows: Any, schema: Any, record: Record) -> None:
    records = [replace(record, offset=offset) for offset in range(5003)]

    frame = rows(records)

    assert frame.schema == schema
    assert frame["offset"].to_list() == list(range(5003))
    assert frame["time"][0] == datetime.fromtimestamp(record.timestamp_ms / 1000, UTC)
    assert rows([]).schema == schema
