"""Is a change in a SeaweedFS filer understood, and is nothing else taken for one?"""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import Rejected
from consumer.intake import contents_of
from consumer.messages import ImageReference
from consumer.seaweedfs import filer_event
from tests.unit.samples import NATIVE, a_record

KEY = "line 3/ü+1.jpg"

# Recorded from SeaweedFS 4.48 with [notification.kafka]: buckets created, objects put (one of them again, one in a
# bucket with versions), copied, uploaded in parts, tagged, deleted one by one and together.
LINES = (Path(__file__).parent / "events" / "seaweedfs.jsonl").read_text().splitlines()
EVENTS = [(line["key"].encode(), bytes.fromhex(line["value"])) for line in map(json.loads, LINES)]
PUT = next(event for event in EVENTS if event[0] == f"/buckets/parts/{KEY}".encode())


def varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def message(**fields: bytes | int) -> bytes:
    """A protobuf message: f1=b"text" is field 1."""
    parts = []
    for name, value in fields.items():
        number = int(name.removeprefix("f")) << 3
        parts.append(varint(number) + varint(value) if isinstance(value, int) else b"")
        if isinstance(value, bytes):
            parts.append(varint(number | 2) + varint(len(value)) + value)
    return b"".join(parts)


def test_each_recorded_change_is_understood() -> None:
    found = [filer_event(a_record(value, key=key)) for key, value in EVENTS]
    images = [event for event in found if isinstance(event, ImageReference)]
    skipped = [(key.decode(), event) for (key, _), event in zip(EVENTS, found, strict=True) if isinstance(event, str)]

    assert None not in found
    assert [(image.bucket, image.key) for image in images] == [
        ("parts", KEY),
        ("parts", "100%.jpg"),
        ("parts", "a%2Bb.jpg"),
        ("parts", "plain.jpg"),
        ("parts", "plain.jpg"),  # written again
        ("parts", "copy.jpg"),
        ("parts", "multi.jpg"),  # and its parts are none
        ("versioned", "v.jpg"),
        ("parts", "copy.jpg"),  # written again with the same bytes
    ]
    assert [image.version_id is not None for image in images] == [image.bucket == "versioned" for image in images]
    assert ("/buckets/parts/plain.jpg", "other_event") in skipped  # tagged
    removed = [key for key, reason in skipped if reason == "removal" and ".uploads" not in key]
    assert [key.partition("/v_")[0] for key in removed] == [
        f"/buckets/parts/{KEY}",
        "/buckets/parts/plain.jpg",
        "/buckets/versioned/v.jpg.versions",  # a marker of deletion
    ]


def test_a_change_is_a_job_of_its_record() -> None:
    key, value = PUT
    (job,) = contents_of(a_record(value, key=key)).jobs

    assert (job.job_id, job.image, job.index, job.siblings) == (
        "inspection.jobs/3/1041",
        ImageReference("parts", KEY),
        0,
        1,
    )


def test_a_renamed_file_is_an_object_under_its_new_key() -> None:
    old, new = message(f1=b"a.part", f9=b"bytes"), message(f1=b"a.jpg", f9=b"bytes")
    value = message(f1=old, f2=new, f4=b"/buckets/parts")

    assert filer_event(a_record(value, key=b"/buckets/parts/a.part")) == ImageReference("parts", "a.jpg")


@pytest.mark.parametrize(
    ("old", "new", "is_written"),
    [
        ({}, {"f3": message(f7=b"another chunk")}, True),
        ({}, {"f4": message(f2=1_795_392_061, f14=b"md5")}, True),  # the same bytes, put again
        ({}, {"f4": message(f2=1_795_392_060, f14=b"other")}, True),
        ({"f9": b"bytes"}, {"f9": b"other"}, True),
        ({}, {"f5": message(f1=b"X-Amz-Tagging-a", f2=b"b")}, False),
        ({"f3": message(f1=b"1,04", f7=b"chunk")}, {"f3": message(f7=b"chunk")}, False),
    ],
)
def test_a_file_is_an_object_again_when_it_was_written(
    old: dict[str, bytes], new: dict[str, bytes], *, is_written: bool
) -> None:
    same = {"f1": b"a.jpg", "f3": message(f7=b"chunk"), "f4": message(f2=1_795_392_060, f14=b"md5")}
    value = message(f1=message(**same | old), f2=message(**same | new), f4=b"/buckets/parts")

    expected = ImageReference("parts", "a.jpg") if is_written else "other_event"
    assert filer_event(a_record(value, key=b"/buckets/parts/a.jpg")) == expected


@pytest.mark.parametrize("folder", ["/etc/seaweedfs", "/buckets", "/buckets/.system/owners", "/bucketsparts/a"])
def test_a_file_outside_of_the_buckets_is_no_object(folder: str) -> None:
    value = message(f2=message(f1=b"filer.conf"), f4=folder.encode())

    assert filer_event(a_record(value, key=f"{folder}/filer.conf".encode())) == "other_event"


def test_a_key_that_s3_does_not_allow_is_refused() -> None:
    value = message(f2=message(f1=b"k" * 1025), f4=b"/buckets/parts")

    with pytest.raises(Rejected, match="record key: 1025 bytes, S3 allows 1024"):
        filer_event(a_record(value, key=b"/buckets/parts/" + b"k" * 1025))


@pytest.mark.parametrize("key", [None, b"", b"camera-7", b"/buckets/parts/other.jpg"])
def test_bytes_of_another_file_are_no_change_of_this_one(key: bytes | None) -> None:
    assert filer_event(a_record(PUT[1], key=key)) is None


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        NATIVE,
        b"\n" + NATIVE,
        b'"text"',
        PUT[1][:-1],
        PUT[1] + b"\x12",
        PUT[1] + b"\x7a\x00",  # a field that the message has not
        message(f1=5),
        message(f2=message(f1=5)),
        message(f3=1),
        message(f2=message(f1=b"\xff.jpg"), f4=b"/buckets/parts"),
        b"\xff" * 20,
        b"\x0b",
    ],
)
def test_what_is_no_filer_event_is_none(value: bytes | None) -> None:
    assert filer_event(a_record(value, key=PUT[0])) is None


@given(st.binary(max_size=100) | st.binary(max_size=5).map(lambda junk: PUT[1][: len(PUT[1]) // 2] + junk))
def test_any_bytes_under_a_path_are_an_event_or_none(value: bytes) -> None:
    assert filer_event(a_record(value, key=PUT[0])) in (None, "removal", "other_event", ImageReference("parts", KEY))
