"""The images room against a real S3: right bytes under odd keys, codes as a server really says them, outages."""

import hashlib
import http.client
import io
import os
import urllib.parse
from collections.abc import Iterator

import numpy as np
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from PIL import Image

from consumer.errors import Reason, Rejected, SettingsError, Unavailable
from consumer.images.availability import Availability
from consumer.images.decode import decode
from consumer.images.store import FetchedImage, ImageStore
from consumer.messages import ImageReference
from consumer.settings import ImageSettings, S3Settings
from tests.rigs.s3 import ACCESS_KEY, REGION, SECRET_KEY, S3Server

pytestmark = pytest.mark.s3


@pytest.fixture(scope="module", autouse=True)
def environment(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """Credentials of the test server, and no others of this machine."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in s3.environment.items():
            patch.setenv(name, value)
        patch.setenv("AWS_CONFIG_FILE", str(tmp_path_factory.mktemp("aws") / "config"))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield patch


@pytest.fixture
def store(s3: S3Server, bucket: str) -> ImageStore:
    return make_store(s3, bucket)


def make_store(s3: S3Server, *buckets: str, max_bytes: int = 2**20) -> ImageStore:
    images = ImageSettings.model_validate({"allowed_buckets": buckets, "max_bytes": max_bytes})
    return ImageStore(S3Settings(endpoint_url=s3.endpoint_url), images)


def fetch(store: ImageStore, image: ImageReference) -> FetchedImage:
    return store.fetch(image, reserve=lambda _: None, timeout=10)


def rejection(store: ImageStore, image: ImageReference) -> Reason:
    with pytest.raises(Rejected) as caught:
        fetch(store, image)
    return caught.value.reason


def test_the_bytes_of_the_object_arrive(s3: S3Server, bucket: str, store: ImageStore) -> None:
    body = np.random.default_rng(1).bytes(700_000)
    s3.put(bucket, "line-3/0001.jpg", body)
    fetched = fetch(store, ImageReference(bucket, "line-3/0001.jpg"))
    assert fetched.content == body
    assert fetched.sha256 == hashlib.sha256(body).hexdigest()
    assert fetched.etag == hashlib.md5(body).hexdigest()


def test_an_empty_object_is_fetched_and_cannot_be_decoded(s3: S3Server, bucket: str, store: ImageStore) -> None:
    s3.put(bucket, "empty.jpg", b"")
    content = fetch(store, ImageReference(bucket, "empty.jpg")).content
    with pytest.raises(Rejected) as caught:
        decode(content, ImageSettings(allowed_buckets=(bucket,)))
    assert caught.value.reason == "image_undecodable"


def test_an_object_over_the_limit_is_refused(s3: S3Server, bucket: str) -> None:
    s3.put(bucket, "large.jpg", bytes(2001))
    assert rejection(make_store(s3, bucket, max_bytes=2000), ImageReference(bucket, "large.jpg")) == "image_too_large"


def test_only_the_state_that_the_job_names_is_taken(s3: S3Server, bucket: str, store: ImageStore) -> None:
    s3.put(bucket, "a.jpg", b"first")
    etag = fetch(store, ImageReference(bucket, "a.jpg")).etag
    assert fetch(store, ImageReference(bucket, "a.jpg", etag=etag)).content == b"first"
    assert fetch(store, ImageReference(bucket, "a.jpg", etag=f'"{etag}"')).content == b"first"
    s3.put(bucket, "a.jpg", b"second")
    assert rejection(store, ImageReference(bucket, "a.jpg", etag=etag)) == "image_changed"
    assert rejection(store, ImageReference(bucket, "a.jpg", version_id="of-no-object")) == "image_changed"


def test_a_version_is_fetched_even_when_there_is_a_newer_one(s3: S3Server, bucket: str, store: ImageStore) -> None:
    s3.client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"first", b"second"):
        s3.put(bucket, "a.jpg", body)
    versions = s3.client.list_object_versions(Bucket=bucket)["Versions"]
    (first,) = (version["VersionId"] for version in versions if not version["IsLatest"])
    fetched = fetch(store, ImageReference(bucket, "a.jpg", version_id=first))
    assert (fetched.content, fetched.version_id) == (b"first", first)
    assert rejection(store, ImageReference(bucket, "a.jpg", version_id="0" * len(first))) == "image_not_found"
    s3.client.delete_object(Bucket=bucket, Key="a.jpg")
    assert rejection(store, ImageReference(bucket, "a.jpg")) == "image_not_found"


# --- object keys ---

KEYS = [
    "a.jpg", "/a.jpg", "d/b.jpg", "d//b.jpg", "d///b.jpg", "//two.jpg", " space ", "a b.jpg", "a+b.jpg", "a%2Fb.jpg",
    "a%b.jpg", "%2e%2e/x.jpg", "a?b.jpg", "a#b.jpg", "ü.jpg", "u\u0308.jpg", "😀/😀.jpg", ".hidden", "...", "..a/b",
    "a\\b", "a:b", "a*b", 'a"b', "<a>", "a|b", "a~b", "a^b`{c}[d]", "a&b=c;d", "a'b", "(a)!$,@", "a\u200bb", "\ufeffa",
    "a\u2028b", "./x.jpg", "../x.jpg", "d/./x", "d/../x", ".", "..", "a\tb", "a\nb", "a\x7fb", "/", "x" * 250,
]  # fmt: skip


@pytest.fixture(scope="module")
def odd_store(s3: S3Server) -> ImageStore:
    s3.create_bucket("odd-keys")
    return make_store(s3, "odd-keys")


@pytest.mark.parametrize("key", KEYS)
def test_a_key_leads_to_its_own_object_or_is_refused(s3: S3Server, odd_store: ImageStore, key: str) -> None:
    body = f"the object {key!r}".encode()
    is_stored = put_raw(s3, "odd-keys", key, body)
    try:
        fetched = fetch(odd_store, ImageReference("odd-keys", key))
    except Rejected as error:
        refusal: Reason | None = error.reason
    else:
        refusal = None
        assert is_stored
        assert fetched.content == body
    assert refusal == ("schema_invalid" if is_refused(key) else None)


def is_refused(key: str) -> bool:
    return bool({".", ".."} & set(key.split("/"))) or key == "/" or any(c < " " or c == "\x7f" for c in key)


def put_raw(s3: S3Server, bucket: str, key: str, body: bytes) -> bool:
    """PUT under exactly this path, signed by hand: a client might change the key."""
    address = urllib.parse.urlsplit(s3.endpoint_url)
    path = f"/{bucket}/{urllib.parse.quote(key, safe='/-_.~')}"
    headers = {"host": address.netloc, "x-amz-content-sha256": hashlib.sha256(body).hexdigest()}
    request = AWSRequest(method="PUT", url=f"{s3.endpoint_url}{path}", data=body, headers=headers)
    S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", REGION).add_auth(request)
    connection = http.client.HTTPConnection(address.netloc, timeout=10)
    try:
        connection.request("PUT", path, body=body, headers=dict(request.headers))
        return connection.getresponse().status == http.HTTPStatus.OK
    finally:
        connection.close()


# --- failures ---


def test_a_missing_object_is_not_found(bucket: str, store: ImageStore) -> None:
    for key in ("nobody.jpg", "no//body.jpg"):
        assert rejection(store, ImageReference(bucket, key)) == "image_not_found"


def test_a_missing_bucket_is_an_outage_and_a_settings_error_at_start(s3: S3Server) -> None:
    store = make_store(s3, "no-such-bucket")
    for key in ("a.jpg", "a//b.jpg"):
        with pytest.raises(Unavailable) as caught:
            fetch(store, ImageReference("no-such-bucket", key))
        assert caught.value.code == "NoSuchBucket"
    with pytest.raises(SettingsError, match=rf"no-such-bucket at {s3.endpoint_url}/no-such-bucket .*NoSuchBucket"):
        store.check()


@pytest.mark.parametrize(
    ("variable", "code"),
    [("AWS_ACCESS_KEY_ID", "InvalidAccessKeyId"), ("AWS_SECRET_ACCESS_KEY", "SignatureDoesNotMatch")],
)
def test_wrong_credentials_are_an_outage_and_a_settings_error_at_start(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, variable: str, code: str
) -> None:
    s3.put(bucket, "a.jpg", b"pixels")
    monkeypatch.setenv(variable, "of-nobody")
    store = make_store(s3, bucket)
    for key in ("a.jpg", "a//b.jpg"):
        with pytest.raises(Unavailable) as caught:
            fetch(store, ImageReference(bucket, key))
        assert caught.value.code == code
    with pytest.raises(SettingsError, match=code):
        store.check()


def test_a_store_that_answers_passes_probe_and_check(s3: S3Server, bucket: str, store: ImageStore) -> None:
    store.probe(bucket)
    store.check()


def test_an_outage_is_red_until_the_store_answers_again() -> None:
    with S3Server() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        server.create_bucket("parts")
        server.put("parts", "a.jpg", b"pixels")
        store = make_store(server, "parts")
        availability = Availability(store.probe, interval=0)
        image = ImageReference("parts", "a.jpg")
        fetch(store, image)
        server.stop()
        with pytest.raises(Unavailable) as caught:
            fetch(store, image)
        availability.failed("parts", caught.value.code)
        availability.refresh()
        assert availability.reason() == "parts: network"
        server.start()
        server.pause()
        with pytest.raises(Unavailable, match="timeout"):
            store.fetch(image, reserve=lambda _: None, timeout=0.5)
        server.resume()
        availability.refresh()
        assert availability.reason() is None
        assert fetch(store, image).content == b"pixels"


def test_a_photograph_goes_from_s3_to_pixels(s3: S3Server, bucket: str, store: ImageStore) -> None:
    picture, buffer, exif = Image.new("RGB", (64, 48), "teal"), io.BytesIO(), Image.Exif()
    exif[0x112] = 6
    picture.save(buffer, "JPEG", exif=exif)
    s3.put(bucket, "phone.jpg", buffer.getvalue())
    fetched = fetch(store, ImageReference(bucket, "phone.jpg"))
    assert decode(fetched.content, ImageSettings(allowed_buckets=(bucket,))).pixels.shape == (64, 48, 3)
