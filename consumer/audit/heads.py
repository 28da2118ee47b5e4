"""How far was the audit seen to go? Kept apart from it, this shows what was taken off its end."""

from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from consumer.errors import CheckFailed, SettingsError
from consumer.writing import write_whole


class Head(Struct, frozen=True):
    """The last entry of a partition's manifest that nothing goes on from; mostly a partition has one of them."""

    topic: str
    partition: int
    date: str
    chain: str
    end: int


class Heads(Struct, frozen=True):
    """A file of heads."""

    schema: Literal["inspection.audit-heads/1"]
    heads: tuple[Head, ...]


def read_heads(file: Path) -> tuple[Head, ...]:
    """Raises SettingsError for a file that cannot be read, or is none of these."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Heads).heads
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(f"--heads: {file} cannot be read: {error}") from error


def write_heads(file: Path, heads: tuple[Head, ...]) -> None:
    """In one step: the file has all of them, or what it had before. Raises CheckFailed."""
    ordered = sorted(heads, key=lambda head: (head.topic, head.partition, head.date))
    content = msgspec.json.encode(Heads("inspection.audit-heads/1", tuple(ordered)))
    try:
        write_whole(file, msgspec.json.format(content, indent=2) + b"\n")
    except OSError as error:
        raise CheckFailed(f"--write-heads: {file} cannot be written: {error.strerror}") from error
