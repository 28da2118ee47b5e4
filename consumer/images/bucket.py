"""How does a bucket come to be, and go again?"""

from collections.abc import Sequence
from functools import partial

from consumer.images.access import S3Access
from consumer.images.objects import ask

_AT_ONCE = 1000  # S3's own limit for one request


def create_bucket(access: S3Access, bucket: str) -> None:
    """Create it. Raises SettingsError (it is there already, denied) or Unavailable."""
    ask(partial(access.boto3_client.create_bucket, Bucket=bucket), f"bucket {bucket} cannot be created")


def delete_objects(access: S3Access, bucket: str, keys: Sequence[str]) -> None:
    """Delete them; one that is not there is no error. Raises SettingsError (denied) or Unavailable."""
    for start in range(0, len(keys), _AT_ONCE):
        objects = [{"Key": key} for key in keys[start : start + _AT_ONCE]]
        what = f"{len(objects)} objects of bucket {bucket} cannot be deleted"
        delete = {"Objects": objects, "Quiet": True}
        ask(partial(access.boto3_client.delete_objects, Bucket=bucket, Delete=delete), what)
