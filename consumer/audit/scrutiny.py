"""What is wrong with one manifest by itself: is it of this folder, does its chain hold, and who signed it?"""

from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import Struct

from consumer.audit.manifest import Entry, Manifest, chained, is_signed_by
from consumer.audit.names import Folder

Kind = Literal[
    "changed_file",
    "removed_file",
    "added_file",
    "reordered_entries",
    "doubled_entry",
    "altered_manifest",
    "removed_manifest",
    "broken_link",
    "gap",
    "overlap",
    "unsigned",
    "wrong_signature",
    "another_key",
    "truncated_tail",
]
"""Stable codes, for programs."""


class Finding(Struct, frozen=True):
    """One thing that is not as the auditor wrote it; `path` is below the audit's prefix."""

    kind: Kind
    path: str
    message: str


class Trust(Struct, frozen=True):
    """Whose signatures count: those of `keys` (base64), and then every manifest must have one. Without keys a
    signature is held against the key that it brings along, and must be there if `is_required`."""

    keys: tuple[str, ...] = ()
    is_required: bool = False


def scrutinize(manifest: Manifest, folder: Folder, trust: Trust) -> Iterator[Finding]:
    """What can be told from the manifest and its place alone."""
    said = (manifest.topic, manifest.partition, manifest.date)
    if said != (folder.topic, folder.partition, folder.date.isoformat()):
        yield Finding("altered_manifest", folder.manifest, "it says that it is of {}, partition {}, {}".format(*said))
    yield from _chain(manifest, folder.manifest)
    yield from _signature(manifest, folder.manifest, trust)


def _chain(manifest: Manifest, path: str) -> Iterator[Finding]:
    broken = _first_broken(manifest, manifest.files)
    if broken is None:
        return
    names = [entry.name for entry in manifest.files]
    if doubled := next((name for name in names if names.count(name) > 1), None):
        yield Finding("doubled_entry", path, f"{doubled} stands in it more than once")
    elif _first_broken(manifest, sorted(manifest.files, key=lambda entry: entry.begin)) is None:
        yield Finding("reordered_entries", path, f"its entries are not in their order, from {names[broken]} on")
    else:
        yield Finding("altered_manifest", path, _why(manifest.files, broken))


def _first_broken(manifest: Manifest, entries: Sequence[Entry]) -> int | None:
    """Which entry does not go on from the one before it."""
    before = manifest.first_chain
    for number, entry in enumerate(entries):
        if entry.chain != chained(before, entry.file):
            return number
        before = entry.chain
    return None


def _why(entries: Sequence[Entry], broken: int) -> str:
    entry = entries[broken]
    if broken and entry.begin > entries[broken - 1].end:
        return f"the entries for offsets {entries[broken - 1].end} to {entry.begin} are gone, before {entry.name}"
    return f"the chain does not hold at {entry.name}: that entry, or what it goes on from, was written anew"


def _signature(manifest: Manifest, path: str, trust: Trust) -> Iterator[Finding]:
    signature = manifest.signature
    if signature is None:
        if trust.keys or trust.is_required:
            yield Finding("unsigned", path, "it has no signature")
        return
    if trust.keys and signature.public_key not in trust.keys:
        yield Finding("another_key", path, f"it is signed by another key, {signature.public_key}")
    elif not _holds(manifest, signature.public_key):
        yield Finding("wrong_signature", path, "its signature is not of this content")


def _holds(manifest: Manifest, key: str) -> bool:
    try:
        return is_signed_by(manifest, key)
    except ValueError:  # what it brings along is no key
        return False
