"""Is a file of weights written whole or not at all, and nobody's overwritten?"""
# ruff: noqa: PT012  # what happens between is the test

from pathlib import Path

import pytest

from consumer.errors import SettingsError
from consumer.weighing.placing import place


def test_a_file_comes_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    with place(tmp_path / "b.onnx", force=False, source=tmp_path / "a.pt") as made:
        made.write_bytes(b"new")
        assert not (tmp_path / "b.onnx").exists()
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("b.onnx", b"new")]


def test_after_an_error_nothing_is_there(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="half"),
        place(tmp_path / "b.onnx", force=False, source=tmp_path / "a.pt") as made,
    ):
        made.write_bytes(b"ne")
        raise ValueError("half")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_goes_with_force_alone(tmp_path: Path) -> None:
    target = tmp_path / "b.onnx"
    target.write_bytes(b"old")
    with pytest.raises(SettingsError, match="--force"), place(target, force=False, source=tmp_path / "a.pt"):
        pass
    assert target.read_bytes() == b"old"
    with place(target, force=True, source=tmp_path / "a.pt") as made:
        made.write_bytes(b"new")
    assert target.read_bytes() == b"new"


def test_a_file_that_comes_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "b.onnx"
    with pytest.raises(SettingsError, match="--force"), place(target, force=False, source=tmp_path / "a.pt") as made:
        made.write_bytes(b"new")
        target.write_bytes(b"theirs")
    assert target.read_bytes() == b"theirs"


@pytest.mark.parametrize(
    ("name", "fact"), [("b.xml", "expected .onnx"), ("no/b.onnx", "cannot be written"), (".", "expected .onnx")]
)
def test_a_place_that_takes_no_file_is_refused(tmp_path: Path, name: str, fact: str) -> None:
    with pytest.raises(SettingsError, match=fact), place(tmp_path / name, force=True, source=tmp_path / "a.pt"):
        pass


def test_the_source_itself_is_never_overwritten(tmp_path: Path) -> None:
    source = tmp_path / "a.onnx"
    source.touch()
    with pytest.raises(SettingsError, match="source itself"), place(source, force=True, source=source):
        pass
