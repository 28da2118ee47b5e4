"""Which files did one partition write on one day, with which digests, and who signed that?

Every entry's `chain` covers its own facts and the chain before it, back over the days to the partition's first file: a
file cannot be changed, taken out, put in or moved without all later chains being wrong.
"""

import base64
import hashlib
from dataclasses import dataclass
from typing import Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from msgspec import Struct

from consumer.audit.names import Folder

_KEY_BYTES = 32


class NotAManifest(ValueError):
    """What lies in the place of a manifest cannot be read as one."""


class File(Struct, frozen=True):
    """One file as the auditor wrote it: `sha256` (hex) of all its bytes."""

    name: str
    begin: int
    end: int
    rows: int
    bytes: int
    sha256: str


class Entry(Struct, frozen=True):
    """A file and the chain up to it."""

    name: str
    begin: int
    end: int
    rows: int
    bytes: int
    sha256: str
    chain: str

    @property
    def file(self) -> File:
        return File(self.name, self.begin, self.end, self.rows, self.bytes, self.sha256)


class Previous(Struct, frozen=True):
    """The manifest that this one goes on from."""

    date: str
    chain: str


class Signature(Struct, frozen=True):
    """Ed25519 over the manifest's canonical JSON without this field; both in base64."""

    algorithm: Literal["ed25519"]
    public_key: str
    value: str


class Manifest(Struct, frozen=True, omit_defaults=True):
    """`_manifest.json` of a folder."""

    schema: Literal["inspection.audit-manifest/1"]
    topic: str
    partition: int
    date: str
    previous: Previous | None
    files: tuple[Entry, ...]
    signature: Signature | None = None

    @property
    def first_chain(self) -> str:
        """What the first entry's chain goes on from."""
        return self.previous.chain if self.previous else origin_of(self.topic, self.partition)

    @property
    def chain(self) -> str:
        """The chain over everything up to here."""
        return self.files[-1].chain if self.files else self.first_chain

    @property
    def end(self) -> int | None:
        """The offset behind its last file, None while it has none."""
        return self.files[-1].end if self.files else None


@dataclass(frozen=True, slots=True)
class Signer:
    """Holds the private key; the public one goes into each manifest."""

    key: Ed25519PrivateKey

    @property
    def public_key(self) -> str:
        raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return base64.b64encode(raw).decode()


def origin_of(topic: str, partition: int) -> str:
    """The chain before a partition's very first file."""
    return hashlib.sha256(f"{topic}/{partition}".encode()).hexdigest()


def begun(folder: Folder, *, after: Manifest | None) -> Manifest:
    """An empty manifest of a day; `after` is the partition's last one before it."""
    previous = None if after is None else Previous(after.date, after.chain)
    return Manifest(
        "inspection.audit-manifest/1", folder.topic, folder.partition, folder.date.isoformat(), previous, ()
    )


def extended(manifest: Manifest, file: File, signer: Signer | None) -> Manifest:
    """With one file more, signed anew where there is a key."""
    entry = Entry(**msgspec.structs.asdict(file), chain=chained(manifest.chain, file))
    unsigned = msgspec.structs.replace(manifest, files=(*manifest.files, entry), signature=None)
    if signer is None:
        return unsigned
    value = base64.b64encode(signer.key.sign(canonical(unsigned))).decode()
    return msgspec.structs.replace(unsigned, signature=Signature("ed25519", signer.public_key, value))


def chained(before: str, file: File) -> str:
    """SHA-256 (hex) of the chain before, a line feed, and the file's canonical JSON."""
    return hashlib.sha256(before.encode() + b"\n" + canonical(file)).hexdigest()


def is_signed_by(manifest: Manifest, public_key: str) -> bool:
    """Whether the holder of this key (base64 of 32 bytes) signed just this content. Raises ValueError for what is no
    key."""
    if manifest.signature is None:
        return False
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key, validate=True))
    unsigned = msgspec.structs.replace(manifest, signature=None)
    try:
        key.verify(base64.b64decode(manifest.signature.value, validate=True), canonical(unsigned))
    except (InvalidSignature, ValueError):
        return False
    return True


def canonical(value: Struct) -> bytes:
    """JSON with sorted keys and no white space, UTF-8."""
    return msgspec.json.encode(value, order="sorted")


def to_json(manifest: Manifest) -> bytes:
    """As it is stored: readable."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def read_manifest(content: bytes) -> Manifest:
    """Raises NotAManifest with what is wrong in it."""
    try:
        return msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NotAManifest(str(error)) from error


def read_private_key(text: str) -> Signer:
    """An Ed25519 key as PEM (`openssl genpkey -algorithm ed25519`) or as base64 of its 32 bytes. Raises ValueError."""
    if "-----BEGIN" in text:
        key = load_pem_private_key(text.encode(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError(f"it is a key for {type(key).__name__.removesuffix('PrivateKey')}, not for Ed25519")
        return Signer(key)
    return Signer(Ed25519PrivateKey.from_private_bytes(_raw(text)))


def read_public_key(text: str) -> str:
    """Base64 of the 32 bytes, given as that or as PEM (`openssl pkey -in key.pem -pubout`). Raises ValueError."""
    if "-----BEGIN" in text:
        key = load_pem_public_key(text.encode())
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError(f"it is a key for {type(key).__name__.removesuffix('PublicKey')}, not for Ed25519")
        return base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    return base64.b64encode(_raw(text)).decode()


def _raw(text: str) -> bytes:
    raw = base64.b64decode("".join(text.split()), validate=True)
    if len(raw) != _KEY_BYTES:
        raise ValueError(f"a key of Ed25519 has {_KEY_BYTES} bytes, this has {len(raw)}")
    return raw
