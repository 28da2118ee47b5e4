"""Which buckets and keys may be asked for, and which client asks for a key without changing it?"""

import re
from typing import Literal

from consumer.errors import Rejected

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET = re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAX_KEY_BYTES = 1024  # S3's own limit

Client = Literal["obstore", "boto3"]


def is_bucket(name: str) -> bool:
    """Whether S3's rules allow a bucket of this name; others could change the URL that is asked."""
    return _BUCKET.fullmatch(name) is not None


def client_for(bucket: str, key: str) -> Client:
    """Return the client that sends exactly this key.

    obstore drops slashes at both ends and refuses double ones; boto3 sends them. Nothing sends `.` and `..`
    segments or control characters reliably: those, and what S3 allows nowhere, are `Rejected("schema_invalid")`.
    """
    if not is_bucket(bucket):
        raise Rejected("schema_invalid", f"{bucket!r} is no bucket name that S3 allows", stage="fetch")
    if (fault := _fault(key)) is not None:
        raise Rejected("schema_invalid", f"key {key[:200]!r} of bucket {bucket} {fault}", stage="fetch")
    return "boto3" if "" in key.split("/") else "obstore"


def _fault(key: str) -> str | None:
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return "is not valid Unicode"
    if size > _MAX_KEY_BYTES:
        return f"has {size} bytes, S3 allows {_MAX_KEY_BYTES}"
    if _CONTROL.search(key):
        return "has control characters, which cannot be sent unchanged"
    segments = key.split("/")
    if not any(segments):
        return "names no object"
    if "." in segments or ".." in segments:
        return "has a '.' or '..' segment, which cannot be sent unchanged"
    return None
