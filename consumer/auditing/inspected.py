"""Are the bytes of an image still those that were inspected?"""

from collections.abc import Callable
from typing import Protocol

from consumer.errors import Rejected, Unavailable
from consumer.images.store import FetchedImage, ImageStore
from consumer.messages import ImageReference
from consumer.settings import Settings

TIMEOUT = 20.0


class Images(Protocol):
    """Where the bytes come from: `ImageStore`, or `LocalFiles`."""

    def fetch(self, image: ImageReference, *, reserve: Callable[[int], None], timeout: float) -> FetchedImage: ...


def open_images(settings: Settings) -> ImageStore:
    """The store, for images of any bucket: they were inspected, and are only read."""
    return ImageStore(settings.s3, settings.images.model_copy(update={"allowed_buckets": ("*",)}))


def inspected_bytes(images: Images, image: ImageReference, sha256: str | None) -> bytes:
    """The very bytes that were inspected. Raises Rejected where they are not to be had any more (gone, changed, their
    bucket gone), Unavailable where the store does not answer."""
    try:
        found = images.fetch(image, reserve=lambda _: None, timeout=TIMEOUT)
    except Unavailable as error:
        if error.code == "NoSuchBucket":
            raise Rejected("image_not_found", str(error), stage="fetch") from error
        raise
    if found.sha256 != sha256:
        raise Rejected("image_changed", f"image {image.uri} has other bytes now", stage="fetch")
    return found.content
