"""Is a line a job, and is one that is none refused before anything is sent?"""

import io
import json

import pytest

from consumer.errors import Rejected, SettingsError
from consumer.intake import contents_of
from consumer.messages import ImageReference, Record
from consumer.publishing import drafts
from consumer.publishing.drafts import Draft, KeyChoice, Lines, Template

URI = b"s3://parts/line-3/0001.jpg"


def value_of(draft: Draft) -> object:
    return json.loads(draft.value)


def lines(*given: bytes, template: Template | None = None) -> list[Draft]:
    with Lines(io.BytesIO(b"\n".join(given)), template or Template()) as kept:
        found = list(kept)
        assert kept.total == len(found)
    return found


def test_each_kind_of_line_becomes_a_job_that_the_consumer_reads() -> None:
    native = b'{"schema": "inspection.job/1", "image": {"bucket": "parts", "key": "line-3/0001.jpg"}}'

    found = lines(URI, native, b'{"image": "s3://parts/line-3/0001.jpg"}')

    for draft in found:
        (job,) = contents_of(Record("jobs", 0, 0, 0, None, draft.value)).jobs
        assert job.image == draft.image == ImageReference("parts", "line-3/0001.jpg")


def test_a_complete_job_stays_as_it_is_byte_for_byte() -> None:
    line = b'{"image":"s3://a-b/c", "schema" : "inspection.job/1",  "metadata": {"w": 1.50, "n": "\\u00fc"}, "new": 1}'

    assert lines(b"  " + line + b"\r")[0].value == line


def test_what_is_completed_keeps_its_own_words() -> None:
    template = Template(parameters='{"confidence": 0.5}', metadata='{\n "all": 1 }')
    own = b'{"image": "s3://parts/a.jpg", "metadata": { "w": 1.50 }}'

    given, plain = lines(own, URI, template=template)

    assert b'"metadata":{ "w": 1.50 }' in given.value
    assert value_of(given) == {
        "schema": "inspection.job/1",
        "image": "s3://parts/a.jpg",
        "parameters": {"confidence": 0.5},
        "metadata": {"w": 1.5},
    }
    assert value_of(plain) == value_of(given) | {"image": URI.decode(), "metadata": {"all": 1}}  # type: ignore[operator]
    assert b"\n" not in plain.value


def test_blank_lines_a_byte_order_mark_and_windows_line_ends_are_no_part_of_a_job() -> None:
    found = lines(b"\xef\xbb\xbf" + URI + b"\r", b"", b"  ", URI + b" \r")

    assert [draft.image.key for draft in found] == ["line-3/0001.jpg", "line-3/0001.jpg "]


@pytest.mark.parametrize(
    ("line", "fact"),
    [
        (b"line-3/0001.jpg", "expected s3://bucket/key or a job in JSON, got 'line-3/0001.jpg'"),
        (b"2026-01-01 12:00:00  123 0001.jpg", "expected s3://bucket/key"),
        (b"s3://parts", "$.image: expected s3://bucket/key"),
        (b"s3://parts/", "$.image: expected s3://bucket/key"),
        (b"s3://Parts/a.jpg", "$.image: 'Parts' is no bucket name that S3 allows"),
        (b"s3://../a.jpg", "is no bucket name"),
        (b"s3://parts/\xff.jpg", "$: not UTF-8 at byte 11"),
        (b"s3://parts/" + b"k" * 1025, "$.image.key: "),
        (b'["s3://parts/a.jpg"]', "expected s3://bucket/key or a job in JSON"),
        (b'"s3://parts/a.jpg"', "expected s3://bucket/key or a job in JSON"),
        (b"{", "$: "),
        (b'{"image": "s3://parts/a.jpg"} trailing', "$: "),
        (b'{"image": "s3://parts/\xff.jpg"}', "$: not UTF-8 at byte 22"),
        (b"{}", "$.image: required, missing"),
        (b'{"Records": []}', "$.image: required, missing"),
        (b'{"schema": "inspection.job/2", "image": "s3://parts/a.jpg"}', "$.schema: expected inspection.job/1"),
        (b'{"image": {"bucket": "parts", "key": 3}}', "$.image.key: expected str, got int"),
        (b'{"image": {"bucket": "parts"}}', "$.image.key: required, missing"),
        (b'{"image": "s3://parts/a.jpg", "parameters": {"confidence": 2}}', "$.parameters.confidence: "),
        (b'{"image": "s3://parts/a.jpg", "job_id": ""}', "$.job_id: "),
        (b'{"image": "s3://parts/a.jpg", "metadata": ' + b"[" * 100_000 + b"}", "$: "),
    ],
)
def test_a_line_that_is_no_job_is_refused_with_what_is_wrong(line: bytes, fact: str) -> None:
    with pytest.raises(Rejected) as refused:
        Template().of_line(line)
    assert fact in str(refused.value)
    assert len(str(refused.value)) < 300

    with pytest.raises(SettingsError, match=r"stdin line 3: .*nothing was sent$"):
        lines(URI, b"", line)


def test_all_wrong_lines_are_named_up_to_ten() -> None:
    with pytest.raises(SettingsError) as refused:
        lines(*[b"nonsense"] * 12, URI)

    said = str(refused.value).splitlines()
    assert said[0].startswith("stdin line 1: ")
    assert said[9].startswith("stdin line 10: ")
    assert said[10] == "and 2 more wrong lines; nothing was sent"


def test_a_line_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "MAX_LINE_BYTES", 100)
    endless = io.BytesIO(b"s3://parts/" + b"k" * 10_000)

    with pytest.raises(SettingsError, match="line 1 is longer than 100 bytes"):
        Lines(endless, Template())
    assert endless.tell() == 101


@pytest.mark.parametrize(
    ("given", "fact"),
    [
        ({"parameters": "{"}, "--parameters: "),
        ({"parameters": "null"}, "--parameters: "),
        ({"parameters": '{"confidence": 2}'}, "$.confidence"),
        ({"parameters": '{"confidense": 0.2}'}, "--parameters: $.confidense: there is no such parameter"),
        ({"metadata": "line 3"}, "--metadata: "),
        ({"metadata": ""}, "--metadata: "),
        ({"metadata": '"\udcff"'}, "--metadata: "),
    ],
)
def test_what_all_jobs_would_have_is_looked_at_first(given: dict[str, str], fact: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Template(**given)
    assert fact in str(refused.value)


def test_odd_keys_reach_the_consumer_unchanged() -> None:
    for key in ("a b+c%2B ü.jpg", 'quote".jpg', "line\nend.jpg", "\u202fnbsp.png", "/a//b"):
        draft = Template().of_image("parts", key)
        (job,) = contents_of(Record("jobs", 0, 0, 0, None, draft.value)).jobs
        assert job.image.key == key
        assert b"\n" not in draft.value


@pytest.mark.parametrize(
    ("choice", "key"),
    [("none", None), ("image", b"line-3/camera-1/0001.jpg"), ("folder", b"line-3/camera-1"), ("job-id", b"mine")],
)
def test_the_record_key_is_what_was_chosen(choice: KeyChoice, key: bytes | None) -> None:
    line = b'{"image": "s3://parts/line-3/camera-1/0001.jpg", "job_id": "mine"}'

    assert Template().of_line(line).key(choice) == key


def test_a_job_without_an_id_has_no_key_of_it() -> None:
    assert Template().of_line(URI).key("job-id") is None


@pytest.mark.parametrize(
    "line",
    [b"s3://parts/a/../b.jpg", b"s3://parts/a\x00.jpg", b"s3://parts/./a", b'{"image": "s3://parts/a\\u001b.jpg"}'],
)
def test_an_image_that_no_client_can_ask_for_is_a_wrong_line(line: bytes) -> None:
    with pytest.raises(SettingsError, match=r"stdin line 2: \$\.image: key .* of bucket parts has "):
        lines(URI, line)


def test_odd_slashes_can_be_asked_for() -> None:
    assert [draft.image.key for draft in lines(b"s3://parts//a//b.jpg")] == ["/a//b.jpg"]
