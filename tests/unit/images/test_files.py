"""Which files does a name stand for, and what becomes of a file that cannot be read?"""

import hashlib
import os
import sys
from pathlib import Path

import pytest

from consumer.errors import Rejected
from consumer.images.files import LocalFiles, files_of
from consumer.messages import ImageReference
from consumer.settings import ImageSettings

LIMIT = 1000


def fetch(path: Path | str, reserved: list[int] | None = None) -> bytes:
    files = LocalFiles(ImageSettings.model_validate({"allowed_buckets": ("*",), "max_bytes": LIMIT}))
    sizes = [] if reserved is None else reserved
    return files.fetch(ImageReference("", str(path)), reserve=sizes.append, timeout=1).content


def reason(path: Path | str) -> str:
    with pytest.raises(Rejected) as raised:
        fetch(path)
    assert raised.value.stage == "fetch"
    return raised.value.reason


def test_a_file_comes_whole_with_its_digest_once_its_size_is_reserved(tmp_path: Path) -> None:
    path = tmp_path / "part.jpg"
    path.write_bytes(b"x" * LIMIT)
    sizes: list[int] = []

    files = LocalFiles(ImageSettings.model_validate({"allowed_buckets": ("*",), "max_bytes": LIMIT}))
    fetched = files.fetch(ImageReference("", str(path)), reserve=sizes.append, timeout=1)

    assert (fetched.content, fetched.etag, fetched.version_id) == (path.read_bytes(), None, None)
    assert fetched.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sizes == [LIMIT]


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "large.jpg").write_bytes(b"x" * (LIMIT + 1))
    sizes: list[int] = []

    with pytest.raises(Rejected, match=r"0\.001001 MB, limit 0\.001 MB"):
        fetch(tmp_path / "large.jpg", sizes)

    assert sizes == []


def test_what_is_no_file_is_not_found(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to(tmp_path / "circle")

    names = [str(tmp_path / name) for name in ("missing.jpg", "pipe.jpg", "", "file/x.jpg")] + ["a\0b", ""]
    assert {name: reason(name) for name in names} == dict.fromkeys(names, "image_not_found")
    assert reason(tmp_path / "circle") == "image_unavailable"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_forbidden(tmp_path: Path) -> None:
    path = tmp_path / "secret.jpg"
    path.touch(mode=0)

    assert reason(path) == "image_forbidden"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_file_that_grows_while_it_is_read_is_rejected() -> None:
    assert reason("/proc/self/status") == "image_changed"  # says that it is empty


def test_a_folder_stands_for_the_images_below_it_in_order(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "sub/c.webp", "again/d.tiff", "notes.txt", "out/old.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    found = list(files_of(str(tmp_path), besides=tmp_path / "sub" / ".." / "out"))

    assert [str(Path(path).relative_to(tmp_path)) for path in found] == ["a.png", "b.JPG", "again/d.tiff", "sub/c.webp"]


def test_a_pattern_stands_for_what_it_matches_unless_a_file_has_that_name(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.jpg", "[ab].jpg", "sub/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    assert list(files_of(f"{tmp_path}/?.jpg")) == [f"{tmp_path}/a.jpg", f"{tmp_path}/b.jpg"]
    assert len(list(files_of(f"{tmp_path}/**/*.jpg"))) == 4
    assert list(files_of(f"{tmp_path}/[ab].jpg")) == [f"{tmp_path}/[ab].jpg"]


def test_what_stands_for_nothing_is_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    for name in (f"{tmp_path}/missing.jpg", f"{tmp_path}/*.jpg", f"{tmp_path}/empty"):
        assert list(files_of(name)) == [name]
        assert reason(name) == "image_not_found"
