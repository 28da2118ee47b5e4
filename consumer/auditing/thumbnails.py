"""How do the images of results become small pictures, each of the very bytes that were inspected?"""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from consumer.audit.report import Shown
from consumer.auditing.inspected import Images, inspected_bytes
from consumer.errors import Rejected
from consumer.gallery import Picture
from consumer.images.decode import decode
from consumer.images.drawing import encoded, shrunk
from consumer.settings import ImageSettings

LONGEST = 480  # pixels of a picture's longer side
_AT_ONCE = 8


def pictures(
    results: Sequence[Shown], images: Images, limits: ImageSettings, left_out: Counter[str]
) -> Iterator[Picture]:
    """In their order; what cannot be had any more, or has other bytes now, is counted in `left_out` by its reason.
    Raises Unavailable where the store does not answer."""

    def draw(one: Shown) -> Picture | str:
        try:
            return _picture(one, images, limits)
        except Rejected as rejection:
            return rejection.reason

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for drawn in threads.map(draw, results):
            if isinstance(drawn, str):
                left_out[drawn] += 1
            else:
                yield drawn


def _picture(one: Shown, images: Images, limits: ImageSettings) -> Picture:
    pixels = decode(inspected_bytes(images, one.image, one.sha256), limits).pixels
    return Picture(
        image=encoded(shrunk(pixels, LONGEST), ".jpg"),
        width=one.width,
        height=one.height,
        title=one.image.uri,
        detections=one.detections,
        subtitle=f"{one.time:%Y-%m-%d %H:%M:%S} UTC",
        details={
            "job": one.job_id,
            "place": one.place,
            "sha256": one.sha256,
            "weights": one.model,
            **({"metadata": one.metadata} if one.metadata else {}),
        },
    )
