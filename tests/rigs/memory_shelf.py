"""A shelf in memory that keeps S3's promises: creation once, compare-and-swap by ETag. It can be made to fail."""

from collections.abc import Iterator
from itertools import count
from typing import Any

from consumer.errors import Unavailable
from consumer.settings import AuditSettings


class MemoryShelf:
    """What several scribes write to at once."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self._tags: dict[str, str] = {}
        self._numbers = count()
        self.fails_after: int | None = None
        """So many writes are taken; the next one raises Unavailable and is not done."""
        self.loses_answer: int | None = None
        """After so many writes one is done, and Unavailable raised."""

    @property
    def name(self) -> str:
        return "memory"

    @property
    def reading(self) -> dict[str, Any]:
        return {}

    def location(self, path: str) -> str:
        return f"memory:{path}"

    def folders(self, path: str) -> list[str]:
        begin = f"{path}/" if path else ""
        return sorted({one.removeprefix(begin).partition("/")[0] for one in self.content if one.startswith(begin)})

    def objects(self, path: str) -> Iterator[tuple[str, int]]:
        for one in sorted(self.content):
            if one.startswith(f"{path}/"):
                yield one, len(self.content[one])

    def read(self, path: str) -> bytes | None:
        return self.content.get(path)

    def read_tagged(self, path: str) -> tuple[bytes, str] | None:
        return (self.content[path], self._tags[path]) if path in self.content else None

    def create(self, path: str, content: bytes, settings: AuditSettings) -> bool:
        return self.replace(path, content, settings, etag=None) is not None

    def replace(self, path: str, content: bytes, settings: AuditSettings, *, etag: str | None) -> str | None:
        if self.fails_after is not None:
            if self.fails_after == 0:
                raise Unavailable("SlowDown", "not now")
            self.fails_after -= 1
        if self._tags.get(path) != etag:
            return None
        self.content[path] = content
        self._tags[path] = f"tag-{next(self._numbers)}"
        if self.loses_answer is not None:
            self.loses_answer -= 1
            if self.loses_answer < 0:
                self.loses_answer = None
                raise Unavailable("timeout", "no answer")
        return self._tags[path]
