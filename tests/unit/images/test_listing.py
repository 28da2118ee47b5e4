"""Does a listing give every object once, with its key untouched, a page at a time?"""

import itertools
import subprocess
import sys

import pytest

from consumer.errors import SettingsError, Unavailable
from consumer.images import objects
from consumer.images.access import S3Access
from consumer.images.listing import ListedObject, listed
from consumer.settings import S3Settings
from tests.rigs.listing import ListedBucket
from tests.unit.images.stub import StubStore, answer, s3_error

PAGE = """<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>
<Contents><Key>a%2Bb+c%252B.jpg</Key><Size>3</Size></Contents>
<Contents><Key>/d//%C3%BC%26%3C.jpg</Key><Size>0</Size></Contents>
<Contents><Key>folder/</Key><Size>0</Size></Contents></ListBucketResult>"""


def access_to(endpoint_url: str) -> S3Access:
    return S3Access(S3Settings(endpoint_url=endpoint_url))


def test_keys_are_given_exactly_as_the_store_means_them(stub: StubStore) -> None:
    stub.say(answer(PAGE.encode()))

    found = list(listed(access_to(stub.endpoint_url), "parts"))

    assert found == [ListedObject("a+b c%2B.jpg", 3), ListedObject("/d//ü&<.jpg", 0), ListedObject("folder/", 0)]
    assert [one.is_folder_marker for one in found] == [False, False, True]


def test_a_page_that_fails_is_asked_for_again(stub: StubStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "delays", lambda: itertools.repeat(0.0))
    stub.say(s3_error("503 Slow Down", "SlowDown"), s3_error("500 Error", "InternalError"), answer(PAGE.encode()))

    assert len(list(listed(access_to(stub.endpoint_url), "parts"))) == 3


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        ("404 Not Found", "NoSuchBucket", SettingsError),
        ("403 Forbidden", "AccessDenied", SettingsError),
        ("403 Forbidden", "SignatureDoesNotMatch", SettingsError),
        ("503 Slow Down", "SlowDown", Unavailable),
    ],
)
def test_what_cannot_be_listed_is_named_with_the_reason(
    stub: StubStore, monkeypatch: pytest.MonkeyPatch, status: str, code: str, error: type[Exception]
) -> None:
    monkeypatch.setattr(objects, "delays", lambda: itertools.repeat(0.0))
    stub.say(s3_error(status, code))

    with pytest.raises(error, match=rf"s3://parts/line-3/ cannot be listed: {code} \(said the stub\)"):
        list(listed(access_to(stub.endpoint_url), "parts", "line-3/"))
    assert len(stub.requests) == (1 if error is SettingsError else objects.ATTEMPTS)


@pytest.mark.parametrize(
    ("token", "fault"),
    [("", "no NextContinuationToken"), ("<NextContinuationToken>7</NextContinuationToken>", "the same .* again")],
)
def test_a_store_that_does_not_say_where_it_goes_on_is_named(stub: StubStore, token: str, fault: str) -> None:
    stub.say(
        answer(PAGE.replace("<IsTruncated>false</IsTruncated>", f"<IsTruncated>true</IsTruncated>{token}").encode())
    )

    with pytest.raises(Unavailable, match=f"s3://parts/ cannot be listed to its end: .*{fault}"):
        list(itertools.islice(listed(access_to(stub.endpoint_url), "parts"), 100))


def test_a_later_page_that_does_not_say_where_it_goes_on_is_named_too(stub: StubStore) -> None:
    cut = PAGE.replace("<IsTruncated>false</IsTruncated>", "<IsTruncated>true</IsTruncated>")
    stub.say(
        answer(cut.replace("<Contents>", "<NextContinuationToken>7</NextContinuationToken><Contents>", 1).encode()),
        answer(cut.encode()),
    )

    with pytest.raises(Unavailable, match=r"gives no NextContinuationToken$"):
        list(listed(access_to(stub.endpoint_url), "parts"))


def test_every_object_of_many_pages_comes_once_and_in_order() -> None:
    with ListedBucket(2500) as bucket:
        found = [one.key for one in listed(access_to(bucket.endpoint_url), "big", "line-3/")]

    assert found == [f"line-3/{number:07}.jpg" for number in range(2500)]


def test_a_listing_goes_on_behind_a_key() -> None:
    with ListedBucket(2500) as bucket:
        behind = listed(access_to(bucket.endpoint_url), "big", "line-3/", start_after="line-3/0002497.jpg")
        assert [one.key for one in behind] == ["line-3/0002498.jpg", "line-3/0002499.jpg"]


def test_pages_are_asked_for_only_when_they_are_needed() -> None:
    with ListedBucket(10_000) as bucket:
        list(itertools.islice(listed(access_to(bucket.endpoint_url), "big"), 1500))
        assert bucket.pages == 2


@pytest.mark.thorough
def test_a_long_listing_takes_no_more_memory_than_a_short_one() -> None:
    """In a process of its own, whose peak is told at 5,000 and at 25,000; a slow test does a million."""
    with ListedBucket(25_000) as bucket:
        done = subprocess.run(
            [sys.executable, "-c", PEAKS, bucket.endpoint_url], capture_output=True, text=True, check=True
        )

    early, late = map(int, done.stdout.split())
    assert late - early < 1024  # KiB; 20,000 objects that were kept would be 2,500


PEAKS = """
import resource, sys
from consumer.images.access import S3Access
from consumer.images.listing import listed
from consumer.settings import S3Settings
for number, _ in enumerate(listed(S3Access(S3Settings(endpoint_url=sys.argv[1])), "big"), 1):
    if number in (5_000, 25_000):
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
