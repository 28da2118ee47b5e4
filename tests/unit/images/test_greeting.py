"""What does the doctor make of a store's answer for a key that does not exist, and of the store's clock?"""

from email.utils import formatdate
from typing import Any

import pytest

from consumer.checkup.machine import check_bucket
from consumer.errors import Unavailable
from consumer.images.access import S3Access
from consumer.images.greeting import greet
from consumer.settings import S3Settings, Settings
from tests.unit.images.stub import StubStore, answer

NOW = 1_700_000_000.0


def said(code: str, status: str = "404 Not Found", *, date: str) -> bytes:
    return answer(f"<Error><Code>{code}</Code></Error>".encode(), status=status, headers=(f"Date: {date}",))


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.images.greeting.time.time", lambda: NOW)


def settings(stub: StubStore, **images: Any) -> Settings:
    return Settings(s3=S3Settings(endpoint_url=stub.endpoint_url), images={"allowed_buckets": ["parts"], **images})  # type: ignore[arg-type]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("ahead", "state", "fact"),
    [
        (0, None, ""),
        (5, None, ""),
        (-6, "warning", "ours is 6 s behind: images.not_found_grace"),
        (300, "warning", "ours is 300 s ahead"),
        (301, "red", "ours is 301 s ahead: stores refuse"),
        (-4000, "red", "ours is 4000 s behind"),
    ],
)
def test_a_clock_that_is_off_is_named(stub: StubStore, ahead: int, state: str | None, fact: str) -> None:
    stub.say(said("NoSuchKey", date=formatdate(NOW - ahead, usegmt=True)))
    bucket, *clock = check_bucket(settings(stub), "parts")

    assert (bucket.name, bucket.state) == ("bucket parts", "ok")
    assert [(finding.name, finding.state) for finding in clock] == (
        [("clock against bucket parts", state)] if state else []
    )
    assert all(fact in finding.fact and "NTP" in finding.advice for finding in clock)


def test_a_bucket_that_may_not_be_listed_is_a_warning_that_says_how_to_prove_the_rest(stub: StubStore) -> None:
    stub.say(said("AccessDenied", "403 Forbidden", date=formatdate(NOW, usegmt=True)))
    (finding,) = check_bucket(settings(stub), "parts")

    assert finding.state == "warning"
    assert "image_forbidden" in finding.fact
    assert finding.advice == "grant s3:ListBucket, and try an image: consumer detect s3://parts/KEY"


def test_any_bucket_is_none_that_could_be_tried(stub: StubStore) -> None:
    (finding,) = check_bucket(settings(stub), "*")
    assert (finding.state, stub.requests) == ("warning", [])


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_a_store_without_a_clock_says_nothing_of_ours(stub: StubStore, date: str) -> None:
    stub.say(said("NoSuchKey", date=date))
    assert greet(S3Access(S3Settings(endpoint_url=stub.endpoint_url)), "parts").ahead is None


def test_a_store_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="parts: network"):
        greet(S3Access(S3Settings(endpoint_url="http://127.0.0.1:9")), "parts")
