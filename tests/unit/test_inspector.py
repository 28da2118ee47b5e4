"""When is a job said to be in hand, from where on its image may end the process?"""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from consumer.detection.engine import Model
from consumer.errors import Abandoned, Rejected
from consumer.images.availability import Availability
from consumer.images.store import FetchedImage
from consumer.inspector import Inspector
from consumer.messages import DeadLetter, ImageReference
from consumer.metrics import Metrics
from consumer.settings import Settings
from tests.unit.samples import a_result

MODEL = Model("stand-in", "0" * 64, "detect", ("a",), 32, (64, 64), None, True, "stand-in", "f32", "cpu")


class Store:
    """Holds one object, which is no image."""

    def __init__(self, *, is_there: bool) -> None:
        self.is_there = is_there

    def fetch(self, image: ImageReference, *, reserve: Callable[[int], None], timeout: float) -> FetchedImage:
        if not self.is_there:
            raise Rejected("image_not_found", "it is not there", stage="fetch")
        return FetchedImage(b"no image", "0" * 64, None, None)


class Claim:
    """Ours, and at the head."""

    is_head = True
    is_dropped = False
    opened_at = 0.0

    def __init__(self, *, has_leave: bool) -> None:
        self.has_leave = has_leave
        self.is_in_hand = False

    def take_in_hand(self) -> None:
        self.is_in_hand = True
        if not self.has_leave:
            raise Abandoned


def inspector(store: Store) -> Inspector:
    settings = Settings.model_validate({"images": {"allowed_buckets": ["parts"], "not_found_grace": 0}})
    no_engine: Any = None
    return Inspector(
        settings,
        MODEL,
        images=store,
        availability=Availability(lambda _: None),
        batcher=no_engine,
        canary=no_engine,
        metrics=Metrics(),
        decode_places=1,
        closing=threading.Event(),
    )


def test_nothing_is_decoded_without_leave() -> None:
    claim = Claim(has_leave=False)
    with pytest.raises(Abandoned):
        inspector(Store(is_there=True)).inspect(a_result().job, claim)
    assert claim.is_in_hand


def test_with_leave_it_is_decoded() -> None:
    outcome = inspector(Store(is_there=True)).inspect(a_result().job, Claim(has_leave=True))
    assert isinstance(outcome, DeadLetter)
    assert outcome.stage == "decode"


def test_a_job_whose_image_is_not_there_was_never_in_hand() -> None:
    claim = Claim(has_leave=True)
    outcome = inspector(Store(is_there=False)).inspect(a_result().job, claim)
    assert isinstance(outcome, DeadLetter)
    assert outcome.reason == "image_not_found"
    assert not claim.is_in_hand
