"""Is nothing overwritten where pictures are put?"""

from pathlib import Path

import pytest

from consumer.errors import CheckFailed, SettingsError
from consumer.images.pictures import Pictures
from consumer.messages import ImageReference


def local(path: str) -> ImageReference:
    return ImageReference("", path)


def test_pictures_of_one_name_get_names_of_their_own_in_their_order(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    names = ("a/part.png", "b/part.jpg", "part.webp", "other.jpg")

    pictures = Pictures(folder)
    written = [pictures.write(local(name), name.encode()).name for name in names]

    assert written == ["part.jpg", "part-2.jpg", "part-3.jpg", "other.jpg"]
    assert [(folder / name).read_text() for name in written] == list(names)


def test_what_lies_in_the_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "part.jpg").write_bytes(b"the image itself")

    written = Pictures(tmp_path).write(local(str(tmp_path / "part.jpg")), b"picture")

    assert written == tmp_path / "part-2.jpg"
    assert (tmp_path / "part.jpg").read_bytes() == b"the image itself"


def test_an_object_gives_its_picture_the_end_of_its_key(tmp_path: Path) -> None:
    pictures = Pictures(tmp_path)
    keys = ["line-3/0001.jpg", "line-3/", "x" * 1000, "ü" * 500]

    names = [pictures.write(ImageReference("parts", key), b"").name for key in keys]

    assert names[:2] == ["0001.jpg", "line-3.jpg"]
    assert all(len(name.encode()) < 255 for name in names)


def test_a_file_may_be_replaced_but_never_by_the_picture_of_itself(tmp_path: Path) -> None:
    image, link, target = tmp_path / "part.png", tmp_path / "link.png", tmp_path / "out" / "part.png"
    image.write_bytes(b"image")
    link.hardlink_to(image)

    for _ in range(2):
        assert Pictures(target).write(local(str(image)), b"picture") == target
    for path in (image, link):
        with pytest.raises(SettingsError, match="is the image itself"):
            Pictures(path).write(local(str(image)), b"picture")

    assert (image.read_bytes(), target.read_bytes()) == (b"image", b"picture")
    assert (Pictures(target).is_one, Pictures(target).suffix) == (True, ".png")


def test_a_folder_that_cannot_be_made_or_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    pictures = Pictures(tmp_path / "folder")
    (tmp_path / "folder").rmdir()

    with pytest.raises(SettingsError, match="cannot be made"):
        Pictures(tmp_path / "file" / "out")
    with pytest.raises(CheckFailed, match=r"picture of part\.jpg cannot be written"):
        pictures.write(local("part.jpg"), b"picture")
