"""How is the store asked for something by a person who waits: a few attempts, then one line that says why not?"""

import time
from collections.abc import Callable
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from consumer.errors import SettingsError, Unavailable
from consumer.images.failures import failure_of_boto3
from consumer.retry import delays

T = TypeVar("T")

ATTEMPTS = 6
"""With the pauses between them they outlive a store that is busy for some seconds."""

_PASSING = frozenset(
    {
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "TooManyRequests",
        "network",
        "status_408",
        "status_429",
        "timeout",
    }
)


def ask(call: Callable[[], T], what: str, *, sleep: Callable[[float], bool | None] = time.sleep) -> T:
    """Make one call of boto3, again while it may help and `sleep` does not return True, as a set Event's `wait` does.

    Raises SettingsError for what waiting does not mend (no such bucket, denied, refused credentials) and Unavailable
    for what it might; `what` begins the message: "s3://parts/line-3/ cannot be listed".
    """
    pauses = delays()
    for left in reversed(range(ATTEMPTS)):
        try:
            return call()
        except (BotoCoreError, ClientError) as error:
            failure = failure_of_boto3(error)
            fact = f"{what}: {failure.code} ({_said(error) or failure.detail})"
            if not _may_pass(failure.code):
                raise SettingsError(fact) from error
            if not left or sleep(next(pauses)):
                raise Unavailable(failure.code, fact) from error
    raise AssertionError("the last attempt returns or raises")


def _said(error: Exception) -> str:
    """The store's own words, without boto3's around them."""
    return (
        " ".join(str(error.response.get("Error", {}).get("Message", "")).split())
        if isinstance(error, ClientError)
        else ""
    )


def _may_pass(code: str) -> bool:
    """Whether asking again may help."""
    return code in _PASSING or code.startswith("status_5")
