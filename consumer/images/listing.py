"""Which objects lie under a prefix? A page at a time, so that a million of them take no more memory than ten."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from consumer.images.access import S3Access
from consumer.images.objects import ask


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object as the store lists it; the key is exactly the one that a GET asks for."""

    key: str
    size: int

    @property
    def is_folder_marker(self) -> bool:
        """What consoles create to show an empty folder."""
        return self.key.endswith("/")


def listed(access: S3Access, bucket: str, prefix: str = "", *, start_after: str = "") -> Iterator[ListedObject]:
    """All objects whose keys begin with `prefix` and come behind `start_after`, in S3's order (that of UTF-8's bytes),
    each page asked for when it is needed.

    boto3 asks, since obstore drops slashes at a key's ends and refuses double ones. Raises SettingsError or
    Unavailable, see `ask`.
    """
    asked = {"Bucket": bucket, "Prefix": prefix} | ({"StartAfter": start_after} if start_after else {})
    while True:
        page: dict[str, Any] = ask(
            partial(access.boto3_client.list_objects_v2, **asked), f"s3://{bucket}/{prefix} cannot be listed"
        )
        for entry in page.get("Contents", ()):
            yield ListedObject(entry["Key"], entry["Size"])
        if not page.get("IsTruncated"):
            return
        asked["ContinuationToken"] = page["NextContinuationToken"]
