"""What does a change in a SeaweedFS filer tell of?

SeaweedFS publishes no S3 events: `[notification.kafka]` sends each change of a file as a protobuf
`EventNotification` (weed/pb/filer.proto), whose record key is the path. Buckets are the folders of /buckets.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from consumer.events import Event, check_key
from consumer.messages import ImageReference, Record

_BUCKETS = "/buckets/"
_VERSIONS = ".versions"

_Value = int | bytes
# Field numbers of filer.proto.
_EVENT = set(range(1, 8))
_OLD_ENTRY, _NEW_ENTRY, _NEW_PARENT = 1, 2, 4
_NAME, _IS_DIRECTORY, _CHUNKS, _ATTRIBUTES, _EXTENDED, _CONTENT = 1, 2, 3, 4, 5, 9
_CHUNK_FID, _MTIME, _MD5 = 7, 2, 14


class _NotOurs(ValueError):
    """The bytes are something else."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file or folder, as far as it matters; `written` changes with what is in it, not with what is said of it."""

    name: str
    is_directory: bool
    written: tuple[_Value, ...]
    extended: dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class _Change:
    """`path` is where the file lies after the change; `old` is None where none was there."""

    path: str
    old: _Entry | None
    new: _Entry | None

    @property
    def is_about_it(self) -> bool:
        """Tags, owner or other metadata: what is in the file stayed."""
        return self.old is not None and self.new is not None and self.old.written == self.new.written


def filer_event(record: Record) -> Event | None:
    """None if the record is no filer event. Raises Rejected(schema_invalid) for a key that S3 does not allow."""
    if not (record.key or b"").startswith(b"/"):
        return None
    try:
        change = _change(record)
    except (_NotOurs, UnicodeDecodeError):
        return None
    if change.new is None:
        return "removal"
    bucket, _, inside = change.path.removeprefix(_BUCKETS).partition("/")
    if change.new.is_directory or change.is_about_it or not change.path.startswith(_BUCKETS) or not inside:
        return "other_event"
    if bucket.startswith(".") or inside.startswith(".uploads/"):  # book-keeping, and parts of a multi-part upload
        return "other_event"
    return _image(bucket, inside, change.new)


def _change(record: Record) -> _Change:
    """Raises _NotOurs for whatever is not exactly a filer's event of the file that the record key names."""
    before = (record.key or b"").decode()
    fields = dict(_fields(record.value or b""))
    old = _entry(fields[_OLD_ENTRY]) if _OLD_ENTRY in fields else None
    new = _entry(fields[_NEW_ENTRY]) if _NEW_ENTRY in fields else None
    first = old or new
    if first is None or fields.keys() - _EVENT or before.rpartition("/")[2] != first.name:
        raise _NotOurs
    after = f"{_bytes(fields.get(_NEW_PARENT, b'')).decode().rstrip('/')}/{new.name}" if new else before
    return _Change(after, old if before == after else None, new)


def _image(bucket: str, inside: str, entry: _Entry) -> Event:
    """A version of an object lies at `{key}.versions/v_{version}`."""
    if b"Seaweed-X-Amz-Delete-Marker" in entry.extended:
        return "removal"
    version = entry.extended.get(b"Seaweed-X-Amz-Version-Id", b"").decode()
    folder = inside.removesuffix(f"{_VERSIONS}/v_{version}")
    is_version = bool(version) and folder != inside
    key = folder if is_version else inside
    check_key(key, "record key")
    return ImageReference(bucket, key, version_id=version if is_version else None)


def _entry(value: _Value) -> _Entry:
    fields = list(_fields(_bytes(value)))
    alone = dict(fields)
    pairs = [dict(_fields(_bytes(content))) for number, content in fields if number == _EXTENDED]
    written = [content for number, content in fields if number == _CONTENT]
    for message, wanted in ((_CHUNKS, {_CHUNK_FID}), (_ATTRIBUTES, {_MTIME, _MD5})):
        parts = (part for number, content in fields if number == message for part in _fields(_bytes(content)))
        written += [content for number, content in parts if number in wanted]
    return _Entry(
        name=_bytes(alone.get(_NAME, b"")).decode(),
        is_directory=bool(alone.get(_IS_DIRECTORY)),
        written=tuple(written),
        extended={_bytes(pair.get(1, b"")): _bytes(pair.get(2, b"")) for pair in pairs},
    )


def _bytes(value: _Value) -> bytes:
    if isinstance(value, int):
        raise _NotOurs
    return value


def _fields(value: bytes) -> Iterator[tuple[int, _Value]]:
    """The fields of one message: https://protobuf.dev/programming-guides/encoding/."""
    at = 0
    while at < len(value):
        tag, at = _varint(value, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            content, at = _varint(value, at)
            yield number, content
            continue
        if wire_type == 2:
            length, at = _varint(value, at)
        elif wire_type in (1, 5):
            length = 8 if wire_type == 1 else 4
        else:
            raise _NotOurs
        if at + length > len(value):
            raise _NotOurs
        yield number, value[at : at + length]
        at += length


def _varint(value: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(value):
            break
        number |= (value[at] & 0x7F) << shift
        at += 1
        if value[at - 1] < 0x80:
            return number, at
    raise _NotOurs
