"""Does every record give jobs or one clear refusal, whatever its bytes are?"""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consumer.errors import Reason, Rejected
from consumer.intake import contents_of, name_of
from consumer.messages import ImageReference, Job, JobParameters, encode_result
from tests.unit.samples import NATIVE, a_record, a_result


def job_of(value: bytes | None, **changes: Any) -> Job:
    (job,) = contents_of(a_record(value, **changes)).jobs
    return job


def message(**fields: Any) -> bytes:
    return json.dumps({"schema": "inspection.job/1", "image": "s3://parts/1.jpg"} | fields).encode()


def refusal_of(value: bytes | None) -> str:
    with pytest.raises(Rejected) as caught:
        contents_of(a_record(value))
    assert (caught.value.reason, caught.value.stage) == ("schema_invalid", "intake")
    return str(caught.value)


def test_a_native_job_is_read_with_all_its_fields() -> None:
    value = message(
        job_id="part-17",
        image={"bucket": "parts", "key": "line-3/0001.jpg", "version_id": "v1", "etag": "e1"},
        parameters={"confidence": 0.5, "iou": 1, "max_detections": 10, "classes": ["scratch", 4]},
        metadata={"line": 3},
    )
    job = job_of(value)

    assert job.job_id == "part-17"
    assert job.image == ImageReference("parts", "line-3/0001.jpg", "v1", "e1")
    assert job.parameters == JobParameters(0.5, 1.0, 10, ("scratch", 4))
    assert isinstance(job.metadata, msgspec.Raw)
    assert bytes(job.metadata) == b'{"line": 3}'
    assert job.source == msgspec.convert(
        {"topic": "inspection.jobs", "partition": 3, "offset": 1041, "index": 0, "timestamp_ms": 1_700_000_000_000},
        type(job.source),
    )
    assert (job.index, job.siblings) == (0, 1)


def test_nulls_are_as_good_as_absent_fields() -> None:
    full = message(job_id=None, parameters={"confidence": None, "iou": None, "max_detections": None, "classes": None})

    assert job_of(full).parameters == job_of(message(parameters=None)).parameters == JobParameters()
    assert job_of(full).job_id == job_of(message()).job_id
    assert job_of(full).metadata is msgspec.UNSET


def test_an_image_may_be_a_uri() -> None:
    assert job_of(message(image="s3://parts/line 3/ä?#.jpg")).image == ImageReference("parts", "line 3/ä?#.jpg")


def test_unknown_fields_are_kept_quiet() -> None:
    assert job_of(message(colour="red", image={"bucket": "b", "key": "k", "size": 1})).image == ImageReference("b", "k")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "$: the record has no value"),
        (b"", "$: Input data was truncated"),
        (b"\xff", "$: not UTF-8 at byte 0"),
        (message(metadata="x").replace(b'"x"', b'"\xff"'), "$: not UTF-8 at byte 73"),
        (b"\xef\xbb\xbf{}", "$: JSON is malformed"),
        (NATIVE[:-1], "$: Input data was truncated"),
        (b"[]", "$: expected object, got array"),
        (b'{"image": "s3://b/k"}', "$.schema: required, missing"),
        (
            message(schema="inspection.job/2"),
            "$.schema: expected inspection.job/1, invalid enum value 'inspection.job/2'",
        ),
        (message(image={"bucket": "b"}), "$.image.key: required, missing"),
        (message(image={"bucket": "b", "key": 5}), "$.image.key: expected str, got int"),
        (message(image={"bucket": "", "key": "k"}), "$.image.bucket: expected str of length >= 1"),
        (message(image={"bucket": "b", "key": "ä" * 513}), "$.image.key: 1026 bytes, S3 allows 1024"),
        (message(image="s3://b/" + "k" * 1025), "$.image.key: 1025 bytes, S3 allows 1024"),
        (message(image=5), "$.image: expected str | object, got int"),
        (message(image="https://b/k"), "$.image: expected s3://bucket/key, got 'https://b/k'"),
        (message(image="s3://b"), "$.image: expected s3://bucket/key, got 's3://b'"),
        (message(image="s3://b/"), "$.image: expected s3://bucket/key, got 's3://b/'"),
        (message(image="s3:///k"), "$.image: expected s3://bucket/key, got 's3:///k'"),
        (message(job_id=""), "$.job_id: expected str of length >= 1"),
        (message(job_id=17), "$.job_id: expected str | null, got int"),
        (message(parameters={"confidence": 1.5}), "$.parameters.confidence: expected float <= 1.0"),
        (message(parameters={"confidence": "0.5"}), "$.parameters.confidence: expected float | null, got str"),
        (message(parameters={"iou": -0.1}), "$.parameters.iou: expected float >= 0.0"),
        (message(parameters={"max_detections": 0}), "$.parameters.max_detections: expected int >= 1"),
        (message(parameters={"max_detections": 1.5}), "$.parameters.max_detections: expected int | null, got float"),
        (message(parameters={"classes": [1.5]}), "$.parameters.classes[0]: expected int | str, got float"),
        (b"[" * 100_000, "$: nested too deep"),
        (message(metadata=0).replace(b"0}", b"[" * 100_000 + b"]" * 100_000 + b"}"), "$: nested too deep"),
    ],
)
def test_a_refusal_names_the_field_and_the_fact(value: bytes | None, text: str) -> None:
    assert refusal_of(value).startswith(text)


def test_a_key_of_the_greatest_length_is_taken() -> None:
    assert len(job_of(message(image="s3://b/" + "ä" * 512)).image.key.encode()) == 1024


# --- who a job is -------------------------------------------------------------------------------------------------


def test_the_field_names_the_job_before_the_header_before_the_coordinates() -> None:
    header = (("inspection-job-id", b"by header"),)

    assert job_of(message(job_id="by field"), headers=header).job_id == "by field"
    assert job_of(message(), headers=header).job_id == "by header"
    assert job_of(message()).job_id == "inspection.jobs/3/1041"


@pytest.mark.parametrize("header", [b"", None, b"\xff"])
def test_a_header_that_is_no_name_is_passed_over(header: bytes | None) -> None:
    assert name_of(a_record(headers=(("inspection-job-id", header),))) == "inspection.jobs/3/1041"


def test_the_record_key_is_never_the_name() -> None:
    assert name_of(a_record(key=b"camera-7")) == name_of(a_record(key=b"camera-8"))


# --- metadata -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "metadata",
    [
        b"null",
        b"[]",
        b'""',
        b"-0",
        b"1.0",
        b"1.10E+2",
        b"1e999",
        b"12345678901234567890123456789012345678901234567890",
        b"0.1000000000000000055511151231257827",
        b'"\\u00e4\\/\\ud83d\\ude00"',
        '"ä😀\x7f"'.encode(),
        b'{"b": 1,  "a" :2,\t"b":3}',
        b"[" * 100 + b"]" * 100,
        b'[ { } , "\\\\" ]',
    ],
)
def test_metadata_travels_unchanged_into_the_result(metadata: bytes) -> None:
    value = NATIVE[:-1] + b', "metadata": ' + metadata + b"}"
    job = job_of(value)
    outcome = encode_result(a_result(metadata=job.metadata)).value or b""

    assert b'"metadata":' + metadata + b"}" in outcome
    json.loads(outcome)


@pytest.mark.parametrize(
    "metadata",
    [
        b'"\\q"',
        b'{"\\q": 1}',
        b'"\\u12"',
        b'"\\uzzzz"',
        b'"\\udc00"',
        b'"\\ud800 alone"',
        b'"a\nb"',
        b'"\x00"',
        b"01",
        b"1.",
        b".5",
        b"+1",
        b"1e",
        b"--1",
        b"NaN",
        b"-Infinity",
        b"tru",
        b"[1,]",
        b'{"a": 1,}',
        b'{"a" 1}',
        b"{1: 2}",
        b"'a'",
        b"/**/1",
        b"1 2",
        b"",
    ],
)
def test_metadata_that_is_no_json_is_refused_since_it_would_spoil_the_result(metadata: bytes) -> None:
    refusal_of(NATIVE[:-1] + b', "metadata": ' + metadata + b"}")


# --- any bytes ----------------------------------------------------------------------------------------------------

TEXT = st.text(max_size=20)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(TEXT, children, max_size=3),
    max_leaves=8,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "schema": st.just("inspection.job/1") | ANY_JSON,
        "image": st.just("s3://b/k") | st.fixed_dictionaries({"bucket": TEXT, "key": TEXT}) | ANY_JSON,
        "job_id": TEXT | ANY_JSON,
        "parameters": ANY_JSON,
        "metadata": ANY_JSON,
        "other": ANY_JSON,
    },
)


def well_or_refused(value: bytes) -> None:
    reason: Reason | None = None
    jobs: tuple[Job, ...] = ()
    try:
        jobs = contents_of(a_record(value)).jobs
    except Rejected as rejection:
        reason = rejection.reason
    assert bool(jobs) != (reason == "schema_invalid")
    for job in jobs:
        assert job.job_id
        assert job.job_id.encode()
        assert job.image.bucket
        assert job.image.key
        json.loads(encode_result(a_result(metadata=job.metadata)).value or b"")


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
@example(b"{" * 5000)
@example(b'{"a":' * 5000)
@example(b'"' + b"\\" * 999)
def test_any_bytes_give_jobs_or_a_refusal(value: bytes) -> None:
    well_or_refused(value)


@settings(max_examples=150, deadline=None)
@given(FIELDS)
def test_any_json_gives_jobs_or_a_refusal(fields: dict[str, Any]) -> None:
    well_or_refused(json.dumps(fields).encode())
    well_or_refused(json.dumps({"schema": "inspection.job/1", "image": "s3://b/k"} | fields).encode())


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_job_with_some_bytes_changed_gives_jobs_or_a_refusal(data: st.DataObject) -> None:
    value = bytearray(message(metadata={"a": [1.5, "x\\n\u00e9", None, True], "b": {"c": -1e5}}))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(value) - 1))
        with_ = data.draw(st.binary(max_size=1) | st.sampled_from([b'"', b"\\", b"{", b"]", b",", b"0", b"e", b"."]))
        value[at : at + data.draw(st.integers(0, 1))] = with_
    well_or_refused(bytes(value))


@pytest.mark.parametrize("depth", [127, 128])
def test_how_deep_a_job_may_be_nested_is_stated_and_depends_on_nothing(depth: int) -> None:
    """Decoders give up at a depth that depends on their caller's: what the intake took, a reader could not read."""
    text = message(metadata=0).replace(b"0}", b"[" * depth + b"]" * depth + b"}")

    if depth == 127:  # and the job itself
        assert len(contents_of(a_record(text)).jobs) == 1
        return
    with pytest.raises(Rejected, match="nested too deep, 128 levels are allowed"):
        contents_of(a_record(text))


def test_brackets_in_a_text_and_lists_beside_each_other_are_no_depth() -> None:
    text = message(metadata=["[{" * 500, '\\"[[', *([] for _ in range(500))])

    assert len(contents_of(a_record(text)).jobs) == 1
