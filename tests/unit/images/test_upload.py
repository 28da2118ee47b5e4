"""Are images put into a bucket as they are, once, and is what cannot be put named?"""

import hashlib
import itertools
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from consumer.errors import SettingsError
from consumer.images import objects
from consumer.images import upload as module
from consumer.images.access import S3Access
from consumer.images.upload import Uploaded, content_type, upload
from consumer.settings import S3Settings
from tests.unit.images.stub import StubStore, answer, s3_error

MISSING = s3_error("404 Not Found", "NoSuchKey")


def access_to(stub: StubStore) -> S3Access:
    return S3Access(S3Settings(endpoint_url=stub.endpoint_url))


def test_an_image_is_put_with_its_content_type(stub: StubStore) -> None:
    stub.say(MISSING, answer())

    done = list(upload(access_to(stub), "parts", [("line 3/a+b.jpg", b"content")], parallel=1))

    assert done == [Uploaded("line 3/a+b.jpg", 7, is_new=True)]
    assert [request.split()[0] for request in stub.requests] == ["HEAD", "PUT"]
    assert stub.paths[1] == b"/parts/line 3/a+b.jpg"
    assert "content-type: image/jpeg" in stub.requests[1].lower()


@pytest.mark.thorough
def test_the_same_bytes_are_not_sent_again_and_other_bytes_replace_them(stub: StubStore, tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"content")
    same = hashlib.md5(b"content").hexdigest()

    stub.say(answer(headers=(f'ETag: "{same}"',)))
    assert list(upload(access_to(stub), "parts", [("a.jpg", file)])) == [Uploaded("a.jpg", 7, is_new=False)]
    assert len(stub.requests) == 1

    stub.say(answer(headers=('ETag: "another"',)), answer())
    assert list(upload(access_to(stub), "parts", [("a.jpg", file)])) == [Uploaded("a.jpg", 7, is_new=True)]


def test_a_busy_store_is_asked_again_and_the_whole_file_is_sent_again(
    stub: StubStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(objects, "delays", lambda: itertools.repeat(0.0))
    (tmp_path / "a.jpg").write_bytes(b"content")
    stub.say(MISSING, s3_error("503 Slow Down", "SlowDown"), answer())

    list(upload(access_to(stub), "parts", [("a.jpg", tmp_path / "a.jpg")], parallel=1))

    assert [request.lower().count("content-length: 7") for request in stub.requests] == [0, 1, 1]


def test_a_bucket_that_does_not_exist_is_named(stub: StubStore) -> None:
    stub.say(MISSING, s3_error("404 Not Found", "NoSuchBucket"))

    with pytest.raises(SettingsError, match=r"s3://parts/a.jpg cannot be written: NoSuchBucket"):
        list(upload(access_to(stub), "parts", [("a.jpg", b"x")], parallel=1))


def test_a_file_that_cannot_be_read_is_named(stub: StubStore, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"file .*gone.jpg cannot be read: No such file"):
        list(upload(access_to(stub), "parts", [("gone.jpg", tmp_path / "gone.jpg")]))


@pytest.mark.thorough
def test_images_are_drawn_from_a_bounded_window_ahead(stub: StubStore) -> None:
    drawn = 0

    def images() -> Iterator[tuple[str, bytes]]:
        nonlocal drawn
        for number in range(1000):
            drawn += 1
            yield f"{number}.jpg", b"x"

    stub.say(answer())
    uploads = upload(access_to(stub), "parts", images())
    assert next(uploads).key == "0.jpg"
    assert drawn <= 40
    uploads.close()  # type: ignore[attr-defined]  # a generator
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("upload")]


def test_what_has_not_begun_when_it_ends_is_not_sent(stub: StubStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FAREWELL", 0.0)
    there = answer(headers=(f'ETag: "{hashlib.md5(b"x").hexdigest()}"',))
    is_over = threading.Event()

    def late() -> Iterable[bytes]:
        is_over.wait()
        yield there

    stub.say(there, late, there)
    uploads = upload(access_to(stub), "parts", [(f"{number}.jpg", b"x") for number in range(50)], parallel=1)
    assert next(uploads).key == "0.jpg"
    uploads.close()  # type: ignore[attr-defined]  # a generator
    is_over.set()
    for thread in threading.enumerate():
        if thread.name.startswith("upload"):
            thread.join()

    assert len(stub.requests) <= 2


@pytest.mark.parametrize(
    ("key", "kind"),
    [("a.JPG", "image/jpeg"), ("a.png", "image/png"), ("a.webp", "image/webp"), ("a", "application/octet-stream")],
)
def test_the_content_type_follows_from_the_suffix(key: str, kind: str) -> None:
    assert content_type(key) == kind
