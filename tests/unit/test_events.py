"""Is the object that an event tells of found under its own key, whichever store and envelope it comes from?"""

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.errors import Rejected
from consumer.events import MAX_EVENTS
from consumer.intake import contents_of
from consumer.messages import DeadLetter, Headers, ImageReference, Job, Record, encode_dead_letter
from tests.unit.samples import a_record

FOLDER = Path(__file__).parent / "events"
KEY = "line 3/ü+1.jpg"
ID, INDEX = "inspection-job-id", "inspection-job-index"

# What became of each line: an image, or the reason why it is skipped. Where the lines are from:
# aws: the examples of "Event message structure" and "s3:TestEvent" in the user guide of Amazon S3, with other keys;
# minio: the structure of its `internal/event/event.go`, values of the example in its guide to bucket notifications;
# eventbridge: the examples of "EventBridge event message structure" in the user guide of Amazon S3, with another key;
# versitygw: recorded from versitygw 1.8.0, see tests/integration/test_stores.py.
KNOWN: dict[str, list[ImageReference | str]] = {
    "aws": [
        "test_event",
        ImageReference("amzn-s3-demo-bucket", "red flower.jpg", "096fKKXTRTtl3on89fVO.nfljtsv6qko"),
        ImageReference("amzn-s3-demo-bucket", KEY),
        "removal",
        "removal",
        "other_event",
    ],
    "minio": [
        ImageReference("images", KEY),
        ImageReference("images", "large.tif", "2a8e7e3b-9a5c-4f6e-8a3f-5a7f1b9c0d1e"),
        "removal",
        "other_event",
    ],
    "eventbridge": [
        ImageReference("amzn-s3-demo-bucket1", KEY, "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e"),
        "removal",
        "other_event",
    ],
    "versitygw": [
        "test_event",
        ImageReference("parts", KEY),
        ImageReference("parts", "100%.jpg"),
        ImageReference("parts", "a%2Bb.jpg"),
        ImageReference("parts", "plain.jpg"),
        ImageReference("parts", "plain.jpg"),
        ImageReference("parts", "copy.jpg"),
        ImageReference("parts", "multi.jpg"),
        "other_event",
        "removal",
        "removal",
        ImageReference("versioned", "v.jpg"),
        "removal",
        ImageReference("parts", "copy.jpg"),
    ],
}


def lines(dialect: str) -> list[bytes]:
    return (FOLDER / f"{dialect}.jsonl").read_bytes().splitlines()


def found(value: bytes | None, headers: Headers = ()) -> list[ImageReference | str]:
    contents = contents_of(a_record(value, headers=headers))
    return [*(job.image for job in contents.jobs), *contents.skipped]


def created(key: Any = "a.jpg", *, source: str | None = "aws:s3", **fields: Any) -> dict[str, Any]:
    stored = {"bucket": {"name": "parts"}, "object": {"key": key}}
    return {"eventSource": source, "eventName": "ObjectCreated:Put", "s3": stored} | fields


def records(*events: Any) -> bytes:
    return json.dumps({"Records": events}).encode()


def refusal_of(value: bytes, headers: Headers = ()) -> str:
    with pytest.raises(Rejected) as caught:
        contents_of(a_record(value, headers=headers))
    assert caught.value.reason == "schema_invalid"
    return str(caught.value)


@pytest.mark.parametrize("dialect", KNOWN)
def test_each_event_of_a_dialect_is_understood(dialect: str) -> None:
    assert [found(line) for line in lines(dialect)] == [[what] for what in KNOWN[dialect]]


def test_an_event_is_a_plain_job_with_the_defaults() -> None:
    record = a_record(lines("aws")[1])
    (job,) = contents_of(record).jobs

    assert job == Job(record, "inspection.jobs/3/1041", job.image)


# --- keys ---------------------------------------------------------------------------------------------------------

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)


@given(KEYS)
@example("a+b c%2B%.jpg")
def test_every_key_is_read_back_from_what_its_store_makes_of_it(key: str) -> None:
    capital = {"PrincipalId": "root"}

    assert found(records(created(quote_plus(key, safe="/*")))) == [ImageReference("parts", key)]
    assert found(records(created(quote(key)))) == [ImageReference("parts", key)]
    assert found(records(created(quote_plus(key), source="minio:s3"))) == [ImageReference("parts", key)]
    assert found(records(created(key, userIdentity=capital))) == [ImageReference("parts", key)]
    assert found(bridged(key)) == [ImageReference("parts", key)]


@pytest.mark.parametrize("key", ["line 3/a.jpg", "ü.jpg", "100%.jpg", "%zz", "a%2", "%"])
@pytest.mark.parametrize("source", ["aws:s3", "minio:s3"])
def test_a_key_that_its_store_would_have_encoded_is_refused(key: str, source: str) -> None:
    """Something else calls itself so; another key of it could be decoded into the name of another object."""
    expected = f"$.Records[0].s3.object.key: expected a form-encoded key, as {source} sends it, got {key!r}"
    assert refusal_of(records(created(key, source=source))) == expected


def test_a_key_that_is_no_text_once_decoded_is_refused() -> None:
    expected = "$.Records[0].s3.object.key: expected UTF-8 once decoded, got '%FF.jpg'"
    assert refusal_of(records(created("%FF.jpg"))) == expected


@pytest.mark.parametrize("source", ["ceph:s3", "", None])
def test_a_store_that_is_not_known_is_read_only_where_both_ways_give_the_same_key(source: str | None) -> None:
    assert found(records(created(KEY.replace("+", "-"), source=source))) == [ImageReference("parts", "line 3/ü-1.jpg")]
    for key in ("a+b.jpg", "a%2Bb.jpg"):
        assert refusal_of(records(created(key, source=source))).startswith(
            f"$.Records[0].s3.object.key: whether {source or 'a store without eventSource'} encodes keys is not known"
        )


def test_a_key_is_as_long_as_s3_allows_once_it_is_decoded() -> None:
    assert found(records(created(quote("ä" * 512)))) == [ImageReference("parts", "ä" * 512)]
    assert refusal_of(records(created(quote("ä" * 513)))) == "$.Records[0].s3.object.key: 1026 bytes, S3 allows 1024"
    assert refusal_of(bridged("a" * 1025)) == "$.detail.object.key: 1025 bytes, S3 allows 1024"


@pytest.mark.parametrize("version", [None, "", "null"])
def test_an_object_without_a_version_of_its_own_is_the_newest(version: str | None) -> None:
    event = created()
    event["s3"]["object"] |= {"versionId": version, "eTag": '"4af981f9-12"'}

    assert found(records(event)) == [ImageReference("parts", "a.jpg", version_id=None, etag=None)]


# --- what is no job -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ObjectCreated:Post", None),
        ("ObjectCreated:Copy", None),
        ("s3:ObjectCreated:SomethingNew", None),
        ("s3:ObjectCreated:PutRetention", "other_event"),
        ("s3:ObjectCreated:PutLegalHold", "other_event"),
        ("s3:ObjectCreated:DeleteTagging", "other_event"),
        ("ObjectRemoved:Delete", "removal"),
        ("s3:ObjectRemoved:DeleteMarkerCreated", "removal"),
        ("LifecycleExpiration:DeleteMarkerCreated", "removal"),
        ("s3:LifecycleDelMarkerExpiration:Delete", "removal"),
        ("s3:TestEvent", "test_event"),
        ("ObjectRestore:Completed", "other_event"),
        ("s3:ObjectAccessed:Get", "other_event"),
        ("ReducedRedundancyLostObject", "other_event"),
    ],
)
def test_only_an_object_that_was_written_is_a_job(name: str, reason: str | None) -> None:
    assert found(records(created(eventName=name))) == [reason or ImageReference("parts", "a.jpg")]


def test_what_is_skipped_need_not_be_well_formed() -> None:
    assert found(records({"eventName": "ObjectRemoved:Delete", "s3": 5})) == ["removal"]


# --- envelopes ----------------------------------------------------------------------------------------------------


def bridged(key: str) -> bytes:
    detail = {"bucket": {"name": "parts"}, "object": {"key": key}}
    return json.dumps({"detail-type": "Object Created", "source": "aws.s3", "detail": detail}).encode()


def wrapped(**fields: Any) -> bytes:
    """A structured CloudEvent, as in "JSON Event Format for CloudEvents 1.0"."""
    event = {"specversion": "1.0", "id": "1", "source": "/line/3", "type": "image.taken"}
    return json.dumps(event | fields).encode()


DATA = {
    "native": b'{"schema": "inspection.job/1", "image": "s3://parts/a.jpg"}',
    "s3": records(created()),
    "eventbridge": bridged("a.jpg"),
}


@pytest.mark.parametrize("value", DATA.values(), ids=DATA)
def test_a_cloud_event_is_what_its_data_is(value: bytes) -> None:
    image = [ImageReference("parts", "a.jpg")]
    binary: Headers = (("ce_specversion", b"1.0"), ("ce_id", b"1"), ("content-type", b"application/json"))
    structured: Headers = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)

    assert found(value) == image
    assert found(value, binary) == image
    assert found(wrapped(data=json.loads(value)), structured) == image
    assert found(wrapped(data=json.loads(value))) == image
    assert found(wrapped(data_base64=base64.b64encode(value).decode())) == image


def test_a_native_job_keeps_its_fields_inside_a_cloud_event() -> None:
    native = {"schema": "inspection.job/1", "job_id": "mine", "image": "s3://b/k", "metadata": {"a": [1.50]}}
    (job,) = contents_of(a_record(wrapped(data=native))).jobs

    assert (job.job_id, bytes(job.metadata)) == ("mine", b'{"a": [1.5]}')  # type: ignore[arg-type]


def test_a_native_job_comes_first() -> None:
    native = json.loads(DATA["native"])

    assert found(json.dumps(native | json.loads(records(created("other.jpg")))).encode()) == [
        ImageReference("parts", "a.jpg")
    ]
    broken = json.dumps(native | {"image": 5, "Records": [created()]}).encode()
    assert refusal_of(broken) == "$.image: expected str | object, got int"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (records(), "$.Records: expected array of length >= 1"),
        (b'{"Records": 5}', "$.Records: expected array, got int"),
        (records(created(), 5), "$.Records[1]: expected object, got int"),
        (records(created(), {}), "$.Records[1].eventName: required, missing"),
        (records(created(eventName="")), "$.Records[0].eventName: expected str of length >= 1"),
        (records(created(eventName=["ObjectCreated:Put"])), "$.Records[0].eventName: expected str, got array"),
        (records(created(), {"eventName": "ObjectCreated:Put"}), "$.Records[1].s3: required, missing"),
        (records(created(s3={"object": {"key": "k"}})), "$.Records[0].s3.bucket: required, missing"),
        (records(created(s3={"bucket": {"name": "b"}, "object": {}})), "$.Records[0].s3.object.key: required, missing"),
        (records(created(5)), "$.Records[0].s3.object.key: expected str, got int"),
        (records(created("")), "$.Records[0].s3.object.key: expected str of length >= 1"),
        (records(created(eventSource=5)), "$.Records[0].eventSource: expected str | null, got int"),
        (records(created(userIdentity="root")), "$.Records[0].userIdentity: expected object | null, got str"),
        (b'{"detail-type": 5}', "$.detail-type: expected str, got int"),
        (b'{"detail-type": "Object Created"}', "$.detail: required, missing"),
        (b'{"detail-type": "Object Created", "detail": {}}', "$.detail.bucket: required, missing"),
        (b'{"Event": "s3:OtherEvent"}', "$.schema: required, missing"),
        (wrapped(), "$.data: required, missing"),
        (wrapped(data=5), "$.data: expected object, got int"),
        (wrapped(data=None), "$.data: expected object, got null"),
        (wrapped(data={"a": 1}), "$.data.schema: required, missing"),
        (wrapped(data=json.loads(records(created(5)))), "$.data.Records[0].s3.object.key: expected str, got int"),
        (wrapped(data={"schema": "inspection.job/1", "image": "s3://b"}), "$.data.image: expected s3://bucket/key"),
        (wrapped(data={"schema": "inspection.job/2", "image": ""}), "$.data.schema: expected inspection.job/1, inv"),
        (wrapped(data_base64="?"), "$.data_base64: expected base64: "),
        (wrapped(data_base64="ü"), "$.data_base64: expected base64: "),
        (wrapped(data_base64=5), "$.data_base64: expected str, got int"),
        (wrapped(data_base64=base64.b64encode(b"\xff\xd8").decode()), "$.data_base64: JSON is malformed"),
        (wrapped(data_base64=base64.b64encode(b'"\xff"').decode()), "$.data_base64: "),
        (wrapped(data_base64=base64.b64encode(b"[" * 129).decode()), "$.data_base64: nested too deep"),
        (wrapped(data=json.loads(wrapped(data=json.loads(records(created()))))), "$.data.schema: required, missing"),
        (b'{"Records": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}", "$: nested too deep"),
    ],
)
def test_a_refusal_names_the_field_of_the_event(value: bytes, text: str) -> None:
    assert refusal_of(value).startswith(text)


@pytest.mark.thorough
def test_a_record_has_as_many_events_as_one_delivery_can_take() -> None:
    most = records(*[created(f"{number}.jpg") for number in range(MAX_EVENTS)])
    assert len(contents_of(a_record(most)).jobs) == MAX_EVENTS

    more = records(*[created()] * 100_000)
    assert refusal_of(more) == "$.Records: expected array of length <= 100"


# --- several jobs in one record -----------------------------------------------------------------------------------

SEVERAL = records(created("a.jpg"), created(eventName="ObjectRemoved:Delete"), created("c.jpg"))


def names(record: Record) -> list[tuple[str, int, int]]:
    return [(job.job_id, job.index, job.siblings) for job in contents_of(record).jobs]


def test_a_jobs_index_is_its_place_among_the_events_skipped_or_not() -> None:
    """So that it is the same when another version skips other events, and the same as in `$.Records[2]`."""
    at = "inspection.jobs/3/1041"
    assert names(a_record(SEVERAL)) == [(f"{at}/0", 0, 3), (f"{at}/2", 2, 3)]
    assert contents_of(a_record(SEVERAL)).skipped == ("removal",)


def test_several_jobs_with_one_id_in_the_header_have_an_id_each() -> None:
    record = a_record(SEVERAL, headers=((ID, b"upload-7"),))
    assert [job_id for job_id, _, _ in names(record)] == ["upload-7/0", "upload-7/2"]


@pytest.mark.parametrize("own", [(), ((ID, b"upload-7"), ("x", b"y"))])
def test_a_redriven_job_of_several_is_opened_alone_under_its_old_id(own: Headers) -> None:
    """Twice, and its second dead letter says no more than the first one."""
    record = a_record(SEVERAL, headers=own)
    job = contents_of(record).jobs[1]
    first = encode_dead_letter(letter_of(job)).headers
    again = a_record(SEVERAL, offset=2000, headers=without_errors(first))
    (redriven,) = contents_of(again).jobs

    assert (redriven.job_id, redriven.index, redriven.siblings) == (job.job_id, 2, 3)
    assert (redriven.image, redriven.source.offset) == (job.image, 2000)
    second = encode_dead_letter(letter_of(redriven)).headers
    assert without_errors(second) == without_errors(first)
    assert dict(second)[INDEX] == b"2"


def letter_of(job: Job) -> DeadLetter:
    return DeadLetter(job.record, job.job_id, "image_not_found", "fetch", "not there", index=job.index)


def without_errors(headers: Headers) -> Headers:
    return tuple(header for header in headers if not header[0].startswith(("__connect.", "inspection-error-")))


def test_a_redriven_event_that_is_skipped_is_skipped_alone() -> None:
    contents = contents_of(a_record(SEVERAL, headers=((INDEX, b"1"),)))
    assert (contents.jobs, contents.skipped) == ((), ("removal",))


def test_a_redriven_job_without_an_id_is_named_by_its_place() -> None:
    assert names(a_record(SEVERAL, headers=((INDEX, b"2"),))) == [("inspection.jobs/3/1041/2", 2, 3)]


@pytest.mark.parametrize("index", [b"3", b"-1", b"", b"one", b"\xff", b"1.0", b" 1", b"9" * 5000])
def test_an_index_that_the_record_does_not_have_is_refused(index: bytes) -> None:
    assert refusal_of(SEVERAL, ((INDEX, index),)).startswith("header inspection-job-index: expected 0 to 2, got ")


def test_a_letter_that_keeps_no_header_of_the_record_still_says_whose_it_is() -> None:
    record = a_record(SEVERAL, headers=((ID, b"mine"), (INDEX, b"2"), ("large", b"x" * 5000)))
    (job,) = contents_of(record).jobs
    headers = dict(encode_dead_letter(letter_of(job), max_bytes=3000).headers)

    assert (headers[ID], headers[INDEX]) == (b"mine", b"2")
