"""What does it mean that the store did not give the object?

Judged by the `<Code>` of S3's answer, never by the class of the client's exception: obstore raises the same one for
a missing key and a missing bucket, and the same one for wrong credentials and a denied object.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    SSLError,
    SSOError,
)
from obstore.exceptions import BaseError

from consumer.errors import ConsumerError, Rejected, Unavailable
from consumer.messages import ImageReference

# obstore raises these two builtins beside its own tree.
_OBSTORE_ERRORS = (BaseError, FileNotFoundError, FileExistsError)
_TIMEOUTS = (ConnectTimeoutError, ReadTimeoutError)
_CREDENTIALS = (CredentialRetrievalError, NoCredentialsError, PartialCredentialsError, SSOError)

# The last two: no object can have such a key there. MinIO says so of a part between slashes of more than 255 bytes.
_MISSING = frozenset({"NoSuchKey", "NoSuchVersion", "DeleteMarker", "KeyTooLongError", "XMinioInvalidObjectName"})
# What S3 says of a version id that it cannot have given out, and of one that is a delete marker.
_MISSING_VERSION = frozenset({"InvalidArgument", "MethodNotAllowed"})
MISCONFIGURED = frozenset(
    {
        "AuthorizationHeaderMalformed",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "NoSuchBucket",
        "PermanentRedirect",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "certificate",
    }
)
"""Codes that no waiting mends at start: credentials, region or bucket are not what the store knows, or we do not trust
who answers."""
# Other codes become `status_NNN`: a store may invent as many as it likes, and the code labels a metric.
_KNOWN = frozenset(
    {
        *_MISSING,
        *MISCONFIGURED,
        *_MISSING_VERSION,
        "AccessDenied",
        "AllAccessDisabled",
        "InternalError",
        "InvalidObjectState",
        "InvalidRange",
        "InvalidRequest",
        "OperationAborted",
        "PreconditionFailed",
        "RequestTimeTooSkewed",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "TooManyRequests",
    }
)

_STATUS = re.compile(r"Server returned non-2xx status code: (\d{3})")
_CODE = re.compile(r"<Code>\s*([A-Za-z0-9.]+)\s*</Code>")
_MESSAGE = re.compile(r"<Message>(.*?)</Message>", re.DOTALL)
_ADDRESS = re.compile(r"performing [A-Z]+ (\w+://[^/\s]+)")
# What Python and urllib3 say, to boto3.
_NOT_VERIFIED = re.compile("CERTIFICATE_VERIFY_FAILED|doesn't match")
# What rustls and the system say, in obstore's debug text.
_NOT_TRUSTED = re.compile(r"InvalidCertificate\(\s*(\w+?)(?:Context)?\b")
_REASON = re.compile(r'(?:message|error): "([^"]+)"')
_NO_TLS = re.compile(r"InvalidMessage\(")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a GET failed: `code` is one of S3's known ones, `status_NNN`, `timeout`, `network`, `certificate` or
    `credentials`."""

    code: str
    detail: str


@contextmanager
def judged(image: ImageReference) -> Iterator[None]:
    """Turn what the clients raise inside into `Rejected` or `Unavailable`; anything else passes."""
    try:
        yield
    except _OBSTORE_ERRORS as error:
        raise _verdict(_failure_of_obstore(str(error), image.key), image) from error
    except (BotoCoreError, ClientError) as error:
        raise _verdict(failure_of_boto3(error), image) from error


def _verdict(failure: Failure, image: ImageReference) -> ConsumerError:
    code, uri = failure.code, image.uri
    if code in _MISSING or (image.version_id and code in _MISSING_VERSION):
        version = f" version {image.version_id}" if image.version_id else ""
        return Rejected("image_not_found", f"image {uri}{version} does not exist ({code})", stage="fetch")
    if code == "AccessDenied":
        return Rejected("image_forbidden", f"image {uri} may not be read, or does not exist ({code})", stage="fetch")
    # 412 answers nothing but our If-Match, so it needs no code.
    if code in {"PreconditionFailed", "status_412"}:
        return Rejected("image_changed", f"image {uri} no longer has the etag {image.etag}", stage="fetch")
    return Unavailable(code, f"{uri}: {code} ({failure.detail})")


def _failure_of_obstore(text: str, key: str) -> Failure:
    """Read the code out of the message: obstore keeps the answer's status and body nowhere else."""
    summary, _, debug = text.partition("\n\nDebug source:")
    # The first sentence repeats the key, which may look like an answer.
    answer = summary.partition(key)[2] or summary
    if status := _STATUS.search(answer):
        said = answer[status.end() :]
        code, message = _CODE.search(said), _MESSAGE.search(said)
        detail = message[1] if message else said.lstrip(": ")
        return Failure(_bounded(code[1] if code else "", int(status[1])), _short(detail))
    if "redirect without LOCATION" in summary:
        return Failure("PermanentRedirect", "the bucket lies in another region than s3.region")
    if "External AWS credential provider" in summary:
        return Failure("credentials", _short(summary))
    if "kind: Timeout" in debug or "TimedOut" in debug:
        return Failure("timeout", _short(summary))
    return _failure_of_connection(summary, debug)


def _failure_of_connection(summary: str, debug: str) -> Failure:
    """obstore's summary says no more than that a request was not sent."""
    where = found[1] if (found := _ADDRESS.search(summary)) else "the store"
    if untrusted := _NOT_TRUSTED.search(debug):
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", untrusted[1]).lower()
        return _not_trusted(f"{where}: its certificate is not trusted: {words}")
    if _NO_TLS.search(debug):
        return Failure("network", f"{where}: no TLS is spoken there")
    reason = _REASON.search(debug)
    return Failure("network", f"{where}: {reason[1]}" if reason else _short(summary))


def _not_trusted(why: str) -> Failure:
    return Failure("certificate", _short(f"{why}; AWS_CA_BUNDLE names a file of authorities to trust"))


def failure_of_boto3(error: Exception) -> Failure:
    """What a ClientError or BotoCoreError says, whatever was asked."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return Failure(_bounded(error.response.get("Error", {}).get("Code", ""), status), _short(str(error)))
    if isinstance(error, SSLError) and _NOT_VERIFIED.search(str(error)):
        return _not_trusted(str(error))
    if isinstance(error, _TIMEOUTS):
        return Failure("timeout", _short(str(error)))
    return Failure("credentials" if isinstance(error, _CREDENTIALS) else "network", _short(str(error)))


def _bounded(code: str, status: int) -> str:
    return code if code in _KNOWN else f"status_{status}"


def _short(text: str) -> str:
    return " ".join(text.split())[:300]
