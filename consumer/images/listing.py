"""Which objects lie under a prefix? A page at a time, so that a million of them take no more memory than ten."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from consumer.errors import Unavailable
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

    boto3 asks, since obstore drops slashes at a key's ends and refuses double ones. Raises as `pages` does.
    """
    for page in pages(access, bucket, prefix, {"StartAfter": start_after} if start_after else {}):
        for entry in page.get("Contents", ()):
            yield ListedObject(entry["Key"], entry["Size"])


def pages(
    access: S3Access, bucket: str, prefix: str, options: Mapping[str, str], *, ask: Callable[..., Any] = ask
) -> Iterator[dict[str, Any]]:
    """The store's answers to ListObjectsV2, one after the other; `ask` makes each call. Raises SettingsError or
    Unavailable, see `ask`; Unavailable too for a store that does not say where it goes on."""
    what = f"s3://{bucket}/{prefix} cannot be listed"
    asked = {"Bucket": bucket, "Prefix": prefix, **options}
    while True:
        page: dict[str, Any] = ask(partial(access.boto3_client.list_objects_v2, **asked), what)
        yield page
        if not page.get("IsTruncated"):
            return
        token = page.get("NextContinuationToken")
        if not token or token == asked.get("ContinuationToken"):
            fault = "the same NextContinuationToken again" if token else "no NextContinuationToken"
            raise Unavailable("listing", f"{what} to its end: the store says that there is more, but gives {fault}")
        asked["ContinuationToken"] = token
