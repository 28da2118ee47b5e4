"""consumer audit verify: is the audit still what the auditor wrote?"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands.asking import warn
from consumer.commands.frame import AsJson, SettingsFile, console, ending, open_settings, write_line
from consumer.commands.selecting import From, moment_of, open_audit
from consumer.errors import CheckFailed, SettingsError

if TYPE_CHECKING:
    from consumer.audit.heads import Head
    from consumer.audit.library import Library
    from consumer.audit.verify import Asked, Verification
    from consumer.settings import Settings

SHOWN = 50
NO_KEY = (
    "no public key was given: a signature is held against the key that it brings along, which shows that manifests are "
    "consistent, not who signed them (--public-key, audit.public_key)"
)
NO_HEADS = (
    "no --heads were given: that the end of the audit was put back to an earlier state, files and manifests alike, "
    "cannot be seen"
)


def verify(
    settings: SettingsFile = None,
    *,
    from_: From = None,
    topic: Annotated[
        list[str] | None, typer.Option(metavar="TOPIC", help="Of this topic; repeatable. [default: all there are]")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Read files from that day on: 2d (ago), 2026-01-31.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Read files up to that day.")] = None,
    public_key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE|BASE64", help="Who must have signed; repeatable, where keys changed. Else audit.public_key."
        ),
    ] = None,
    require_signature: Annotated[
        bool, typer.Option("--require-signature", help="Without a public key: manifests must be signed all the same.")
    ] = False,
    heads: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What --write-heads wrote: all of that must still be there.")
    ] = None,
    write_heads: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep how far the audit goes, unless something is found. Keep it elsewhere."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Hold every file against its manifest, and the manifests against each other: digests, chain, signatures, offsets.

    Changed, removed and added files are named, and so are manifests and entries that were altered, removed, doubled or
    put in another order. All manifests are looked at; --since and --until choose the days whose files are read.
    A last file that no manifest has yet is `pending`: the auditor may be about to write it down.

    Exit codes: 0 nothing was found, 1 something was, 2 settings, arguments, keys or bucket, 3 store not reachable.

    Example: consumer audit verify --since 2d --public-key audit.pub --heads heads.json --write-heads heads.json
    """
    with ending():
        loaded = open_settings(settings, inspects=False)
        library = open_audit(loaded, from_)
        from consumer.audit.heads import read_heads
        from consumer.audit.heads import write_heads as write
        from consumer.audit.scrutiny import Trust
        from consumer.audit.verify import Asked
        from consumer.audit.verify import verify as look

        seen = read_heads(heads) if heads else ()
        asked = Asked(
            topics=_topics(library, topic, seen),
            since=moment_of(since, option="--since"),
            until=moment_of(until, option="--until"),
            trust=Trust(_keys(public_key, loaded), require_signature),
            seen=seen,
        )
        found = look(library, asked)
        if write_heads and not found.findings:
            write(write_heads, (*found.heads, *(head for head in seen if head.topic not in asked.topics)))
        notes = _notes(found, asked)
        if as_json:
            write_line({"findings": found.findings, "pending": found.pending, **_counts(found), "notes": notes})
        else:
            _tell(found, notes, library)
        if found.findings:
            kept = f"; {write_heads} was not written" if write_heads else ""
            raise CheckFailed(f"{_many(len(found.findings), 'finding')}: {library.shelf.name} is not as written{kept}")


def _topics(library: Library, wanted: list[str] | None, seen: tuple[Head, ...]) -> tuple[str, ...]:
    """Those that are there, and those that were seen. Raises SettingsError where there is nothing of what is wanted."""
    known = {*library.topics(), *(head.topic for head in seen)}
    if not known:
        raise SettingsError(f"audit {library.shelf.name} holds no topic")
    if unknown := sorted(set(wanted or ()) - known):
        raise SettingsError(f"--topic: audit {library.shelf.name} has no {', '.join(unknown)}, but {_listed(known)}")
    return tuple(sorted(set(wanted or known)))


def _keys(given: list[str] | None, settings: Settings) -> tuple[str, ...]:
    """Raises SettingsError for what is no key."""
    if given:
        return tuple(_key(text, "--public-key") for text in given)
    return (_key(settings.audit.public_key, "audit.public_key"),) if settings.audit.public_key else ()


def _key(text: str, name: str) -> str:
    from consumer.audit.manifest import read_public_key

    try:
        file = Path(text)
        is_file = len(text) < 4096 and "\n" not in text and file.is_file()
        return read_public_key(file.read_text(encoding="utf-8") if is_file else text)
    except (ValueError, OSError) as error:
        raise SettingsError(f"{name}: no file, and no Ed25519 public key: {error}") from error


# --- telling ------------------------------------------------------------------------------------------------------


def _notes(found: Verification, asked: Asked) -> list[str]:
    """What was not proven."""
    notes = []
    if found.signed < found.manifests:
        notes.append(f"{found.manifests - found.signed} of {_many(found.manifests, 'manifest')} are not signed")
    if found.signed and not asked.trust.keys:
        notes.append(f"{NO_KEY}: {_listed(found.keys)}")
    if not asked.seen:
        notes.append(NO_HEADS)
    return notes


def _counts(found: Verification) -> dict[str, int]:
    names = ("manifests", "signed", "files", "rows", "bytes")
    return {name: getattr(found, name) for name in names}


def _tell(found: Verification, notes: list[str], library: Library) -> None:
    for finding in found.findings[:SHOWN]:
        _say(f"{finding.kind}  {finding.path}: {finding.message}", style="red")
    if len(found.findings) > SHOWN:
        _say(f"and {len(found.findings) - SHOWN} more findings (--json has them all)")
    for path in found.pending:
        _say(f"pending  {path}: in no manifest yet, it goes on from the last one")
    size = f"{found.bytes / 1e6:,.1f} MB"
    _say(
        f"{library.shelf.name}: {_many(found.files, 'file')} ({size}, {found.rows:,} rows) read, "
        f"{_many(found.manifests, 'manifest')} ({found.signed:,} signed) held together, "
        f"{_many(len(found.findings), 'finding')}"
    )
    for note in notes:
        warn(f"note: {note}")


def _say(text: str, style: str | None = None) -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
