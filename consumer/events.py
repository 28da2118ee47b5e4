"""Which objects does an event tell of, whatever the store and the envelope?

Stores differ in how they write keys, and a key read in the wrong way may name another object that exists too. So a key
is read by what its store is known to send, and refused where that is not certain. docs/events.md has the table.
"""

import base64
import binascii
import re
from typing import Annotated, Literal
from urllib.parse import unquote_plus

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from consumer.messages import ImageReference, NonEmpty
from consumer.parsing import invalid, limit_nesting, parse

SkipReason = Literal["test_event", "removal", "other_event"]
Event = ImageReference | SkipReason

MAX_KEY_BYTES = 1024  # S3's own limit
# In one record, whose outcomes leave in one transaction, dead letters with all of the record each. Stores send one
# event, and Amazon S3 no more than 64 KB.
MAX_EVENTS = 100

_FORM_ENCODERS = frozenset({"aws:s3", "minio:s3"})
_FORM_ENCODED = re.compile(r"(?:[!-$&-~]|%[0-9A-Fa-f]{2})+")  # no space, nothing beyond ASCII, no % by itself
_REMOVALS = ("ObjectRemoved:", "LifecycleExpiration:", "LifecycleDelMarkerExpiration:")
# MinIO counts these among the creations; the object stays as it was.
_NO_CREATIONS = frozenset({f"ObjectCreated:{name}" for name in ("PutRetention", "PutLegalHold", "PutTagging")}) | {
    "ObjectCreated:DeleteTagging"
}


class Envelope(Struct, frozen=True):
    """What tells one kind of event from another; everything in it is still to be read."""

    schema: Raw | UnsetType = UNSET
    records: Raw | UnsetType = msgspec.field(default=UNSET, name="Records")
    event: Raw | UnsetType = msgspec.field(default=UNSET, name="Event")
    detail_type: Raw | UnsetType = msgspec.field(default=UNSET, name="detail-type")
    detail: Raw | UnsetType = UNSET
    specversion: Raw | UnsetType = UNSET
    data: Raw | UnsetType = UNSET
    data_base64: Raw | UnsetType = UNSET


class _Identity(Struct, frozen=True):
    capital: Raw | UnsetType = msgspec.field(default=UNSET, name="PrincipalId")


class _Notification(Struct, frozen=True, rename="camel"):
    event_name: NonEmpty
    event_source: str | None = None
    user_identity: _Identity | None = None
    s3: Raw | UnsetType = UNSET

    @property
    def kind(self) -> str:
        return self.event_name.removeprefix("s3:")

    @property
    def is_from_versitygw(self) -> bool:
        """It calls itself `aws:s3`, but alone begins `PrincipalId` with a capital."""
        return self.user_identity is not None and self.user_identity.capital is not UNSET


class _Bucket(Struct, frozen=True):
    name: NonEmpty


class _Object(Struct, frozen=True, rename="camel"):
    key: NonEmpty
    version_id: str | None = None


class _Stored(Struct, frozen=True):
    bucket: _Bucket
    object: _Object


class _DetailObject(Struct, frozen=True, rename="kebab"):
    key: NonEmpty
    version_id: str | None = None


class _Detail(Struct, frozen=True):
    bucket: _Bucket
    object: _DetailObject


_envelope = msgspec.json.Decoder(Envelope)
_records = msgspec.json.Decoder(Annotated[tuple[Raw, ...], Meta(min_length=1, max_length=MAX_EVENTS)])
_notification = msgspec.json.Decoder(_Notification)
_stored = msgspec.json.Decoder(_Stored)
_detail = msgspec.json.Decoder(_Detail)
_text = msgspec.json.Decoder(str)


def envelope_of(text: bytes | Raw, at: str = "$") -> Envelope:
    """Raises Rejected(schema_invalid) if the text is no JSON object."""
    return parse(_envelope, text, at)


def data_of(envelope: Envelope, at: str) -> tuple[bytes | Raw, str] | None:
    """The data of a structured CloudEvent and their path; None if it is none."""
    if envelope.specversion is UNSET:
        return None
    if not isinstance(envelope.data_base64, UnsetType):
        path = f"{at}.data_base64"
        try:
            text = base64.b64decode(parse(_text, envelope.data_base64, path), validate=True)
        except (binascii.Error, ValueError) as error:
            raise invalid(path, f"expected base64: {error}") from error
        limit_nesting(text, path)
        return text, path
    if isinstance(envelope.data, UnsetType):
        raise invalid(f"{at}.data", "required, missing")
    return envelope.data, f"{at}.data"


def events_of(envelope: Envelope, at: str) -> tuple[Event, ...] | None:
    """The events of a notification, in order: the object that was created, or why it is none of our business.

    None if it is no event at all. Raises Rejected(schema_invalid) with the path of what is wrong.
    """
    if not isinstance(envelope.records, UnsetType):
        path = f"{at}.Records"
        records = enumerate(parse(_records, envelope.records, path))
        return tuple(_notified(record, f"{path}[{index}]") for index, record in records)
    if not isinstance(envelope.event, UnsetType) and bytes(envelope.event) == b'"s3:TestEvent"':
        return ("test_event",)
    if not isinstance(envelope.detail_type, UnsetType):
        return (_bridged(envelope, envelope.detail_type, at),)
    return None


def check_key(key: str, at: str) -> None:
    if (length := len(key.encode())) > MAX_KEY_BYTES:
        raise invalid(at, f"{length} bytes, S3 allows {MAX_KEY_BYTES}")


def _notified(text: Raw, at: str) -> Event:
    notification = parse(_notification, text, at)
    kind = notification.kind
    if kind.startswith(_REMOVALS):
        return "removal"
    if kind == "TestEvent":
        return "test_event"
    if not kind.startswith("ObjectCreated:") or kind in _NO_CREATIONS:
        return "other_event"
    if isinstance(notification.s3, UnsetType):
        raise invalid(f"{at}.s3", "required, missing")
    stored = parse(_stored, notification.s3, f"{at}.s3")
    key = _key(notification, stored.object.key, f"{at}.s3.object.key")
    return _image(stored.bucket.name, key, stored.object.version_id, f"{at}.s3.object.key")


def _key(notification: _Notification, key: str, at: str) -> str:
    source = notification.event_source
    if notification.is_from_versitygw or (source not in _FORM_ENCODERS and not {"+", "%"} & set(key)):
        return key
    if source not in _FORM_ENCODERS:
        raise invalid(at, f"whether {source or 'a store without eventSource'} encodes keys is not known: {key[:200]!r}")
    if not _FORM_ENCODED.fullmatch(key):
        raise invalid(at, f"expected a form-encoded key, as {source} sends it, got {key[:200]!r}")
    try:
        return unquote_plus(key, errors="strict")
    except UnicodeDecodeError as error:
        raise invalid(at, f"expected UTF-8 once decoded, got {key[:200]!r}") from error


def _bridged(envelope: Envelope, detail_type: Raw, at: str) -> Event:
    """Amazon EventBridge does not encode keys."""
    match parse(_text, detail_type, f"{at}.detail-type"):
        case "Object Created":
            if isinstance(envelope.detail, UnsetType):
                raise invalid(f"{at}.detail", "required, missing")
            detail = parse(_detail, envelope.detail, f"{at}.detail")
            return _image(detail.bucket.name, detail.object.key, detail.object.version_id, f"{at}.detail.object.key")
        case "Object Deleted":
            return "removal"
        case _:
            return "other_event"


def _image(bucket: str, key: str, version_id: str | None, at: str) -> ImageReference:
    """By version where the bucket has them. Never by ETag: an overwritten object has an event of its own, and its
    older events must not become dead letters."""
    check_key(key, at)
    return ImageReference(bucket, key, version_id=version_id if version_id not in ("", "null") else None)
