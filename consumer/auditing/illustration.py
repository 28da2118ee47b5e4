"""How does a result's image look with what was found in it?"""

from consumer.audit.story import Outcome
from consumer.auditing.inspected import inspected_bytes, open_images
from consumer.errors import Rejected
from consumer.images.decode import decode
from consumer.images.drawing import drawn, encoded
from consumer.settings import Settings


def content_of(outcome: Outcome, settings: Settings) -> bytes:
    """The image's bytes, as they were inspected. Raises as `inspected_bytes` does."""
    image = outcome.reference
    if image is None:
        raise Rejected("image_not_found", "the outcome names no image that was inspected", stage="fetch")
    return inspected_bytes(open_images(settings), image, outcome.sha256)


def picture_of(content: bytes, outcome: Outcome, settings: Settings, suffix: str) -> bytes:
    """The bytes of an image file of the kind that `suffix` names, with the detections drawn."""
    return encoded(drawn(decode(content, settings.images).pixels, outcome.detections or ()), suffix)
