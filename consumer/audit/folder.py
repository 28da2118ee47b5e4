"""An audit that lies in a folder: copied out of S3, or made by a test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any


class FolderShelf:
    """Objects as files; paths are below `folder`, with slashes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def name(self) -> str:
        return str(self._folder)

    @property
    def reading(self) -> dict[str, Any]:
        return {}

    def location(self, path: str) -> str:
        return str(self._folder / path)

    def folders(self, path: str) -> list[str]:
        here = self._folder / path
        return sorted(one.name for one in here.iterdir() if one.is_dir()) if here.is_dir() else []

    def objects(self, path: str) -> Iterator[tuple[str, int]]:
        for one in sorted((self._folder / path).rglob("*")):
            if one.is_file():
                yield one.relative_to(self._folder).as_posix(), one.stat().st_size

    def read(self, path: str) -> bytes | None:
        try:
            return (self._folder / path).read_bytes()
        except FileNotFoundError:
            return None
