"""One GET, judged by what S3 says: a stub says what a real store rarely does."""

import hashlib
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.errors import Reason, Rejected, SettingsError, Unavailable
from consumer.images import access
from consumer.images.access import S3Access
from consumer.images.store import ImageStore
from consumer.messages import ImageReference
from consumer.settings import S3Settings
from tests.unit.images.conftest import MakeStore
from tests.unit.images.stub import StubStore, answer, s3_error

IMAGE = ImageReference("parts", "a.jpg")


def fetch(
    store: ImageStore, image: ImageReference = IMAGE, *, reserve: Callable[[int], None] = lambda _: None
) -> tuple[bytes, str | None, str | None]:
    fetched = store.fetch(image, reserve=reserve, timeout=5)
    assert fetched.sha256 == hashlib.sha256(fetched.content).hexdigest()
    return fetched.content, fetched.etag, fetched.version_id


def rejection(store: ImageStore, image: ImageReference = IMAGE) -> Reason:
    with pytest.raises(Rejected) as caught:
        fetch(store, image)
    return caught.value.reason


def unavailable(store: ImageStore, image: ImageReference = IMAGE) -> str:
    with pytest.raises(Unavailable) as caught:
        fetch(store, image)
    return caught.value.code


# --- the object ---


def test_the_bytes_come_with_their_digest_etag_and_version(stub: StubStore, store: ImageStore) -> None:
    stub.say(answer(b"pixels", headers=('ETag: "e1"', "x-amz-version-id: v1")))
    assert fetch(store) == (b"pixels", "e1", "v1")


def test_an_empty_object_is_an_object(stub: StubStore, store: ImageStore) -> None:
    stub.say(answer(b""))
    assert fetch(store)[0] == b""


@pytest.mark.parametrize("key", ["a.jpg", "a//b.jpg"])
def test_an_image_over_the_limit_is_refused_before_its_room_is_reserved(
    stub: StubStore, make_store: MakeStore, key: str
) -> None:
    stub.say(answer(length=31_000_000))
    reserved: list[int] = []
    with pytest.raises(Rejected, match=r"is 31 MB, limit 20 MB \(images.max_bytes\)") as caught:
        fetch(make_store(max_bytes=20_000_000), ImageReference("parts", key), reserve=reserved.append)
    assert caught.value.reason == "image_too_large"
    assert reserved == []


def test_more_bytes_than_promised_are_never_taken(stub: StubStore, store: ImageStore) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    stub.say(chunked + b"3\r\nabc\r\n0\r\n\r\n")
    assert unavailable(store) == "wrong_length"


@pytest.mark.parametrize("key", ["a.jpg", "a//b.jpg"])
def test_a_body_cut_short_is_an_outage_and_no_broken_image(stub: StubStore, store: ImageStore, key: str) -> None:
    stub.say(answer(b"half", length=8))
    assert unavailable(store, ImageReference("parts", key)) == "network"


def test_room_is_reserved_once_with_the_size(stub: StubStore, store: ImageStore) -> None:
    stub.say(answer(b"pixels"))
    reserved: list[int] = []
    fetch(store, reserve=reserved.append)
    assert reserved == [6]


def test_what_reserve_raises_passes_untouched(stub: StubStore, store: ImageStore) -> None:
    def refuse(_: int) -> None:
        raise FileNotFoundError("of the caller")

    stub.say(answer(b"pixels"))
    with pytest.raises(FileNotFoundError, match="of the caller"):
        fetch(store, reserve=refuse)


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, _: int) -> None:
        self.now += 30


def test_waiting_long_for_room_asks_again_instead_of_reading_a_stale_answer(
    stub: StubStore, make_store: MakeStore
) -> None:
    clock = Clock()
    stub.say(answer(b"stale", length=6), answer(b"pixels"))
    assert fetch(make_store(clock=clock), reserve=clock.wait)[0] == b"pixels"


def test_an_object_that_grew_while_it_waited_for_room_is_fetched_anew(stub: StubStore, make_store: MakeStore) -> None:
    clock = Clock()
    stub.say(answer(b"small"), answer(b"much larger"))
    with pytest.raises(Unavailable) as caught:
        fetch(make_store(clock=clock), reserve=clock.wait)
    assert caught.value.code == "changing"


# --- this state of the object ---


@pytest.mark.parametrize("etag", ["abc", '"abc"', 'W/"abc"'])
@pytest.mark.parametrize("key", ["a.jpg", "a//b.jpg"])
def test_an_etag_becomes_if_match_with_quotes(stub: StubStore, store: ImageStore, etag: str, key: str) -> None:
    stub.say(answer(b"pixels"))
    fetch(store, ImageReference("parts", key, etag=etag))
    assert 'if-match: "abc"' in stub.requests[0].lower()


@pytest.mark.parametrize("said", [s3_error("412 Precondition Failed", "PreconditionFailed"), answer(status="412 No")])
def test_another_etag_is_a_changed_image(stub: StubStore, store: ImageStore, said: bytes) -> None:
    stub.say(said)
    assert rejection(store, ImageReference("parts", "a.jpg", etag="abc")) == "image_changed"


def test_what_cannot_be_an_etag_is_refused(store: ImageStore) -> None:
    assert rejection(store, ImageReference("parts", "a.jpg", etag="a\nb")) == "schema_invalid"


@pytest.mark.parametrize("key", ["a.jpg", "a//b.jpg"])
def test_a_version_is_asked_for_and_must_come_back(stub: StubStore, store: ImageStore, key: str) -> None:
    stub.say(answer(b"pixels", headers=("x-amz-version-id: v1",)))
    assert fetch(store, ImageReference("parts", key, version_id="v1")) == (b"pixels", None, "v1")
    assert "versionId=v1" in stub.requests[0]
    assert rejection(store, ImageReference("parts", key, version_id="v2")) == "image_changed"


def test_the_version_of_a_bucket_without_versions_is_called_null(stub: StubStore, store: ImageStore) -> None:
    stub.say(answer(b"pixels"))
    assert fetch(store, ImageReference("parts", "a.jpg", version_id="null"))[0] == b"pixels"


# --- what kind of failure it is ---


@pytest.mark.parametrize("key", ["a.jpg", "a//b.jpg"])
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (s3_error("404 Not Found", "NoSuchKey"), "image_not_found"),
        (s3_error("404 Not Found", "NoSuchVersion"), "image_not_found"),
        (s3_error("404 Not Found", "DeleteMarker"), "image_not_found"),
        (s3_error("400 Bad Request", "KeyTooLongError"), "image_not_found"),
        (s3_error("400 Bad Request", "XMinioInvalidObjectName"), "image_not_found"),
        (s3_error("403 Forbidden", "AccessDenied"), "image_forbidden"),
    ],
)
def test_a_fault_of_the_job_is_a_rejection(
    stub: StubStore, store: ImageStore, key: str, said: bytes, reason: Reason
) -> None:
    stub.say(said)
    assert rejection(store, ImageReference("parts", key)) == reason


@pytest.mark.parametrize("key", ["a.jpg", "a//b.jpg"])
@pytest.mark.parametrize(
    ("said", "code"),
    [
        (s3_error("404 Not Found", "NoSuchBucket"), "NoSuchBucket"),
        (s3_error("403 Forbidden", "InvalidAccessKeyId"), "InvalidAccessKeyId"),
        (s3_error("403 Forbidden", "SignatureDoesNotMatch"), "SignatureDoesNotMatch"),
        (s3_error("403 Forbidden", "RequestTimeTooSkewed"), "RequestTimeTooSkewed"),
        (s3_error("400 Bad Request", "ExpiredToken"), "ExpiredToken"),
        (s3_error("503 Slow Down", "SlowDown"), "SlowDown"),
        (s3_error("500 Oops", "Invented-4711"), "status_500"),
        (s3_error("500 Oops", "Invented4711"), "status_500"),
        (answer(status="502 Bad Gateway"), "status_502"),
        (answer(b"nothing here", status="404 Not Found"), "status_404"),  # a proxy's word, not the store's
        (answer(status="403 Forbidden"), "status_403"),
        (b"", "network"),
        (b"no HTTP at all\r\n\r\n", "network"),
    ],
)
def test_anything_else_is_an_outage_with_a_bounded_code(
    stub: StubStore, store: ImageStore, key: str, said: bytes, code: str
) -> None:
    stub.say(said)
    assert unavailable(store, ImageReference("parts", key)) == code


def test_a_version_that_cannot_exist_is_not_found(stub: StubStore, store: ImageStore) -> None:
    stub.say(s3_error("400 Bad Request", "InvalidArgument"))
    assert rejection(store, ImageReference("parts", "a.jpg", version_id="v1")) == "image_not_found"
    assert unavailable(store) == "InvalidArgument"


def test_a_redirect_to_another_region_is_named(stub: StubStore, store: ImageStore) -> None:
    stub.say(s3_error("301 Moved Permanently", "PermanentRedirect"))
    assert unavailable(store) == "PermanentRedirect"


@pytest.mark.parametrize(
    "key",
    [
        "<Code>AccessDenied</Code>",
        "Server returned non-2xx status code: 403 Forbidden: <Code>AccessDenied</Code>",
        "Server returned non-2xx status code: 404",
    ],
)
def test_a_key_that_looks_like_an_answer_is_not_taken_for_one(stub: StubStore, store: ImageStore, key: str) -> None:
    image = ImageReference("parts", key)
    stub.say(answer(status="404 Not Found"))
    assert unavailable(store, image) == "status_404"
    stub.say(s3_error("404 Not Found", "NoSuchBucket"))
    assert unavailable(store, image) == "NoSuchBucket"


def test_a_store_that_is_not_there_is_a_network_failure(make_store: MakeStore) -> None:
    assert unavailable(make_store(endpoint_url="http://127.0.0.1:1")) == "network"


@pytest.mark.timeout(20)
def test_a_store_that_never_answers_is_given_up(stub: StubStore, store: ImageStore) -> None:
    stub.say(stub.stall)
    with pytest.raises(Unavailable) as caught:
        store.fetch(IMAGE, reserve=lambda _: None, timeout=0.2)
    assert caught.value.code == "timeout"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("key", ["a.jpg", "a//b.jpg"])
def test_a_store_that_sends_byte_by_byte_is_given_up(stub: StubStore, store: ImageStore, key: str) -> None:
    stub.say(stub.trickle)
    with pytest.raises(Unavailable) as caught:
        store.fetch(ImageReference("parts", key), reserve=lambda _: None, timeout=0.3)
    assert caught.value.code == "timeout"


@pytest.mark.thorough
@pytest.mark.timeout(20)
@pytest.mark.parametrize("key", ["a.jpg", "a//b.jpg"])
def test_a_stall_ends_long_before_the_time_out(
    stub: StubStore, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr(access, "STALL_TIMEOUT", 0.2)
    stub.say(stub.stall)
    with pytest.raises(Unavailable) as caught:
        make_store().fetch(ImageReference("parts", key), reserve=lambda _: None, timeout=100)
    assert caught.value.code == "timeout"


def test_a_body_that_takes_too_long_is_given_up(stub: StubStore, make_store: MakeStore) -> None:
    stub.say(answer(b"pixels"))
    times = iter([0.0, 0.0, 0.0, 6.0])
    with pytest.raises(Unavailable) as caught:
        make_store(clock=lambda: next(times)).fetch(ImageReference("parts", "a//b"), reserve=lambda _: None, timeout=5)
    assert caught.value.code == "timeout"


def test_one_fetch_is_one_request(stub: StubStore, store: ImageStore) -> None:
    stub.say(s3_error("503 Slow Down", "SlowDown"))
    for key in ("a.jpg", "a//b.jpg"):
        assert unavailable(store, ImageReference("parts", key)) == "SlowDown"
    assert len(stub.requests) == 2


# --- never an object whose path is not the job's key ---

SEGMENTS = st.sampled_from(["", ".", "..", "a", " ", "+", "%2F", "%", "?", "#", "ü", "u\u0308", "😀", "\\", "~", ";="])
KEYS = st.one_of(
    st.text(min_size=1, max_size=20),
    st.text(alphabet="/.%+ ?#ab", min_size=1, max_size=8),
    st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join),
)


def test_the_path_on_the_wire_is_the_key_or_the_job_is_refused(stub: StubStore, store: ImageStore) -> None:
    stub.say(answer(b"pixels"))

    @settings(deadline=None)
    @given(key=KEYS)
    def check(key: str) -> None:
        stub.requests.clear()
        image = ImageReference("parts", key)
        if can_be_sent(key):
            fetch(store, image)
            assert stub.paths == [b"/parts/" + key.encode()]
        else:
            assert rejection(store, image) == "schema_invalid"
            assert stub.requests == []

    check()


def can_be_sent(key: str) -> bool:
    segments = key.split("/")
    is_clean = all(character.isprintable() or ord(character) > 127 for character in key) and any(segments)
    return is_clean and not {".", ".."} & set(segments) and not any(0xD800 <= ord(c) <= 0xDFFF for c in key)


# --- probe and check ---


@pytest.mark.parametrize(
    "said",
    [s3_error("404 Not Found", "NoSuchKey"), s3_error("403 Forbidden", "AccessDenied"), answer(b"somebody made it")],
)
def test_a_store_that_answers_the_probe_is_there(stub: StubStore, store: ImageStore, said: bytes) -> None:
    stub.say(said)
    store.probe("parts")
    store.check()


@pytest.mark.parametrize(
    "said",
    [
        s3_error("404 Not Found", "NoSuchBucket"),
        s3_error("403 Forbidden", "InvalidAccessKeyId"),
        s3_error("403 Forbidden", "SignatureDoesNotMatch"),
        s3_error("400 Bad Request", "ExpiredToken"),
    ],
)
def test_what_waiting_will_not_mend_stops_the_start(stub: StubStore, store: ImageStore, said: bytes) -> None:
    stub.say(said)
    with pytest.raises(Unavailable) as unavailable:
        store.probe("parts")
    with pytest.raises(SettingsError) as caught:
        store.check()
    assert f"bucket parts at {stub.endpoint_url}/parts" in str(caught.value)
    assert unavailable.value.code in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_outage_at_start_is_waited_for(stub: StubStore, store: ImageStore) -> None:
    stub.say(s3_error("503 Slow Down", "SlowDown"))
    with pytest.raises(Unavailable):
        store.check()


def test_every_listed_bucket_is_checked_but_any_bucket_is_none(stub: StubStore, make_store: MakeStore) -> None:
    make_store(buckets=("parts", "*", "other")).check()
    assert [target.split("/")[1] for target in stub.targets] == ["parts", "other"]


def test_a_listed_bucket_that_s3_would_not_allow_is_named(make_store: MakeStore) -> None:
    with pytest.raises(SettingsError, match="allowed_buckets: 'No Bucket'"):
        make_store(buckets=("No Bucket",)).check()


# --- access ---


def test_no_credentials_anywhere_is_a_settings_error(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(SettingsError, match="no credentials found"):
        make_store()


def test_a_profile_that_does_not_exist_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match="nobody"):
        S3Access(S3Settings(profile="nobody"))


def test_credentials_that_can_no_longer_be_fetched_are_an_outage_but_stop_the_start(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    soon = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    (tmp_path / "keys.json").write_text(
        json.dumps({"Version": 1, "AccessKeyId": "k", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": soon})
    )
    (tmp_path / "config").write_text(f"[default]\ncredential_process = cat {tmp_path}/keys.json\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    store = make_store()
    store._client("parts", 5)  # knows its address, has no credentials yet
    (tmp_path / "keys.json").unlink()
    for bucket in ("parts", "other"):
        assert unavailable(store, ImageReference(bucket, "a.jpg")) == "credentials"
    with pytest.raises(SettingsError, match="no credentials to be had"):
        store.check()


def test_credentials_are_asked_for_again_before_temporary_ones_end() -> None:
    # botocore's are good for 10 minutes at least, and obstore asks 5 minutes before the end that it is told.
    expires_at = S3Access(S3Settings())._provider()["expires_at"]
    assert expires_at is not None
    assert expires_at - datetime.now(UTC) <= timedelta(minutes=15)


@pytest.mark.thorough
def test_jobs_that_name_ever_new_buckets_do_not_fill_the_memory(make_store: MakeStore) -> None:
    store = make_store(buckets=("*",))
    for number in range(70):
        store._client(f"bucket-{number}", 5)
    assert len(store._clients) == 64


def test_an_endpoint_without_a_scheme_is_a_settings_error(make_store: MakeStore) -> None:
    with pytest.raises(SettingsError, match="Invalid endpoint"):
        make_store(endpoint_url="localhost:9000")


def test_a_profile_gives_credentials_and_region(
    stub: StubStore, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_PROFILE", "factory")
    Path(os.environ["AWS_CONFIG_FILE"]).write_text("[profile factory]\nregion = eu-north-1\n")
    Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"]).write_text(
        "[factory]\naws_access_key_id = of-the-profile\naws_secret_access_key = x\n"
    )
    make_store().probe("parts")
    assert "Credential=of-the-profile/" in stub.requests[0]
    assert "/eu-north-1/s3/" in stub.requests[0]


def test_an_endpoint_in_the_environment_does_not_win_over_the_settings(
    stub: StubStore, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    make_store().probe("parts")
    assert stub.targets[0].startswith("/parts/")


@pytest.mark.parametrize(
    ("s3", "address"),
    [
        (S3Settings(), "https://parts.s3.amazonaws.com"),
        (S3Settings(region="eu-central-1"), "https://parts.s3.eu-central-1.amazonaws.com"),
        (S3Settings(region="eu-central-1", path_style=True), "https://s3.eu-central-1.amazonaws.com/parts"),
        (S3Settings(endpoint_url="http://minio:9000"), "http://minio:9000/parts"),
        (S3Settings(endpoint_url="http://minio:9000", path_style=False), "http://parts.minio:9000"),
        (S3Settings(endpoint_url="https://gateway/s3/"), "https://gateway/s3/parts"),
    ],
)
def test_a_bucket_lies_where_the_settings_say(s3: S3Settings, address: str) -> None:
    assert S3Access(s3).address("parts") == address


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_the_region_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "eu-west-2")
    assert S3Access(S3Settings()).address("parts") == "https://parts.s3.eu-west-2.amazonaws.com"
