"""Is an image still what was inspected, and how does it look with what was found in it?"""

from collections.abc import Sequence

from consumer.audit.story import Outcome
from consumer.errors import Rejected
from consumer.images.decode import decode
from consumer.images.drawing import drawn, encoded
from consumer.images.store import ImageStore
from consumer.messages import Detection
from consumer.settings import Settings

_TIMEOUT = 20.0


def inspected_bytes(outcome: Outcome, settings: Settings) -> bytes:
    """The image's bytes, the very ones that were inspected. Raises Rejected where they are not to be had any more
    (gone, changed), Unavailable where the store does not answer."""
    image = outcome.reference
    if image is None or outcome.sha256 is None:
        raise Rejected("image_not_found", "the outcome names no image that was inspected", stage="fetch")
    limits = settings.images.model_copy(update={"allowed_buckets": ("*",)})
    found = ImageStore(settings.s3, limits).fetch(image, reserve=lambda _: None, timeout=_TIMEOUT)
    if found.sha256 != outcome.sha256:
        raise Rejected("image_changed", f"{image.uri} has other bytes now: sha256 {found.sha256}", stage="fetch")
    return found.content


def picture_of(content: bytes, detections: Sequence[Detection], settings: Settings, suffix: str) -> bytes:
    """The image file `suffix` names, with the detections drawn."""
    return encoded(drawn(decode(content, settings.images).pixels, detections), suffix)
