"""Does a file that is written hold all of it, or what it held before?"""

from collections.abc import Callable
from pathlib import Path

import pytest

from consumer.audit.heads import Head, write_heads
from consumer.errors import CheckFailed
from consumer.gallery import Gallery, write_gallery
from consumer.writing import write_whole
from tests.rigs.full_disk import files_of_at_most


def page(path: Path, size: int) -> None:
    write_gallery(path, Gallery(title="t", footer="x" * size))


def heads(path: Path, size: int) -> None:
    write_heads(path, (Head("t", 0, "2026-01-01", "c", 1),) * size)


def plain(path: Path, size: int) -> None:
    write_whole(path, bytes(size))


WRITERS = pytest.mark.parametrize("write", [plain, page, heads])


@WRITERS
def test_what_does_not_fit_leaves_the_old_one_and_nothing_else(
    write: Callable[[Path, int], None], tmp_path: Path
) -> None:
    path = tmp_path / "file"
    write(path, 10)
    old = path.read_bytes()

    with files_of_at_most(len(old)), pytest.raises((OSError, CheckFailed), match="File too large"):
        write(path, 1000)

    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


@WRITERS
def test_a_file_takes_the_place_of_the_one_before(write: Callable[[Path, int], None], tmp_path: Path) -> None:
    path = tmp_path / "file"
    write(path, 10)
    old = path.read_bytes()

    write(path, 1000)

    assert len(path.read_bytes()) > len(old)
    assert list(tmp_path.iterdir()) == [path]
