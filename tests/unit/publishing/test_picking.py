"""Which names are taken for images, and what is said of the others?"""

import os
from pathlib import Path

import pytest

from consumer.errors import SettingsError
from consumer.publishing.drafts import Template
from consumer.publishing.picking import FolderImages, Location, Selection, location


def keys_of(folder: Path, selection: Selection, prefix: str = "line-3") -> list[str]:
    return [draft.image.key for draft in FolderImages(folder, Location("parts", prefix), selection, Template())]


def test_images_are_known_by_their_suffix_and_the_rest_is_counted() -> None:
    selection = Selection()

    taken = [name for name in ("a.jpg", "B.JPEG", "c.png", "d.json", ".DS_Store", "e") if selection.takes(name, 1)]

    assert taken == ["a.jpg", "B.JPEG", "c.png"]
    assert not selection.takes("empty.jpg", 0)
    assert not selection.takes("folder.jpg/", 0)
    assert selection.skipped == {"names without an image's suffix": 3, "empty": 1, "folder markers": 1}


def test_patterns_take_the_place_of_the_suffixes() -> None:
    selection = Selection(("day-1/*", "*.raw"))

    assert [selection.takes(name, 1) for name in ("day-1/a/b", "x/y.raw", "day-2/a.jpg")] == [True, True, False]
    assert selection.skipped == {"names that do not match": 1}


def test_a_folder_is_walked_in_the_order_of_its_names(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.jpg", "sub/ü 1+2.png", "sub/note.txt", "\u202fscreen shot.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "round").symlink_to(tmp_path)
    (tmp_path / "link.jpg").symlink_to(tmp_path / "a.jpg")
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "nowhere")

    keys = keys_of(tmp_path, Selection())

    assert keys == [
        "line-3/a.jpg",
        "line-3/b.jpg",
        "line-3/link.jpg",
        "line-3/\u202fscreen shot.png",
        "line-3/sub/ü 1+2.png",
    ]


@pytest.mark.parametrize(("prefix", "key"), [("", "a.jpg"), ("line-3", "line-3/a.jpg"), ("line-3/", "line-3/a.jpg")])
def test_a_folder_lies_below_its_prefix(tmp_path: Path, prefix: str, key: str) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")

    assert keys_of(tmp_path, Selection(), prefix) == [key]


@pytest.mark.parametrize(
    ("name", "why"),
    [(b"\xff.jpg", r"key 'line-3/\udcff.jpg' of bucket parts is not valid Unicode"), (b"new\nline.jpg", "control")],
)
def test_a_file_whose_name_cannot_be_a_key_is_named_and_left_out(tmp_path: Path, name: bytes, why: str) -> None:
    for one in (name, b"good.jpg"):
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), one))).write_bytes(b"x")  # noqa: PTH118  # bytes
    said: list[str] = []
    selection = Selection(warn=said.append)

    assert keys_of(tmp_path, selection) == ["line-3/good.jpg"]
    assert selection.skipped == {"names that cannot be fetched": 1}
    assert why in said[0]


def test_only_the_first_names_that_cannot_be_fetched_are_said() -> None:
    said: list[str] = []
    selection = Selection(warn=said.append)

    taken = [
        key
        for key in ("a/../b.jpg", "a\0.jpg", "./c.jpg", "x\n.jpg", "a//b.jpg", "/a.jpg")
        if selection.takes_key("parts", key)
    ]

    assert taken == ["a//b.jpg", "/a.jpg"]
    assert selection.skipped == {"names that cannot be fetched": 4}
    assert [one.split(" of bucket")[0] for one in said] == [
        "left out: key 'a/../b.jpg'",
        "left out: key 'a\\x00.jpg'",
        "left out: key './c.jpg'",
    ]


def test_what_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")

    with pytest.raises(SettingsError, match=r"a\.jpg is no folder: expected a folder, s3://"):
        keys_of(tmp_path / "a.jpg", Selection())
    with pytest.raises(SettingsError, match="nowhere does not exist: "):
        keys_of(tmp_path / "nowhere", Selection())


def test_a_location_is_a_bucket_with_or_without_a_prefix() -> None:
    assert location("s3://parts", "--to") == Location("parts", "")
    assert location("s3://parts/a//b", "--to") == Location("parts", "a//b")
    for wrong in ("parts/a", "s3:/parts", "s3://", "https://parts/a", "s3://Parts/a", "s3://parts/\udcff"):
        with pytest.raises(SettingsError, match=r"^--to: "):
            location(wrong, "--to")
