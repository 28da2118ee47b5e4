"""What does the store say of a bucket when asked for a key that does not exist, and what time is it there?"""

import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from botocore.exceptions import BotoCoreError, ClientError

from consumer.errors import Unavailable
from consumer.images.access import S3Access
from consumer.images.failures import failure_of_boto3
from consumer.images.store import PROBE_KEY


@dataclass(frozen=True, slots=True)
class Greeting:
    """`code` is S3's, such as NoSuchKey or AccessDenied; `ahead` is how many seconds our clock is before the store's,
    to about one, None where it did not say."""

    code: str
    ahead: float | None


def greet(access: S3Access, bucket: str) -> Greeting:
    """Ask once. Raises Unavailable when there is no answer."""
    asked = time.time()
    try:
        access.boto3_client.get_object(Bucket=bucket, Key=PROBE_KEY)
    except ClientError as error:
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return Greeting(failure_of_boto3(error).code, _ahead(headers.get("date"), (asked + time.time()) / 2))
    except BotoCoreError as error:
        failure = failure_of_boto3(error)
        raise Unavailable(failure.code, f"bucket {bucket}: {failure.code} ({failure.detail})") from error
    return Greeting("", None)  # somebody put an object there


def _ahead(date: str | None, now: float) -> float | None:
    try:
        return now - parsedate_to_datetime(date).timestamp() if date else None
    except ValueError:
        return None
