"""Who is at fault when an image fails, a decoding never ends or the engine hangs?"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest

from consumer.errors import EngineBroken
from consumer.images.availability import Availability
from consumer.images.decode import Decoded
from consumer.images.store import FetchedImage
from consumer.messages import DeadLetter, ImageReference, Result
from consumer.metrics import Metrics
from consumer.settings import Settings
from consumer.station import open_inspector
from consumer.watchdog import Watchdog
from tests.unit.samples import a_result

RED = np.full((64, 64, 3), (0, 0, 255), np.uint8)


class Red:
    """A store of one image, which the failing and the hanging engine cannot bear."""

    def fetch(self, image: ImageReference, *, reserve: Callable[[int], None], timeout: float) -> FetchedImage:
        return FetchedImage(bytes(cv2.imencode(".png", RED)[1]), "0" * 64, None, None)


class Claim:
    """Ours, and at the head."""

    is_head = True
    is_dropped = False
    opened_at = 0.0

    def take_in_hand(self) -> None:
        pass


def open_station(engine: str, metrics: Metrics, *, deadline: float = 60) -> Any:
    settings = Settings.model_validate(
        {
            "images": {"allowed_buckets": ["parts"]},
            "model": {"engine": f"tests.stand_ins:{engine}_engine"},
            "limits": {"job_deadline": deadline},
        }
    )
    return open_inspector(
        settings,
        images=Red(),
        availability=Availability(lambda _: None),
        metrics=metrics,
        closing=threading.Event(),
    )


@pytest.mark.timeout(30)
def test_an_engine_that_hangs_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its `close` would never return, and neither would the process."""
    monkeypatch.setattr("consumer.batcher.CLOSING_TIME", 0.01)
    with (
        open_station("hanging", Metrics(), deadline=0.3) as inspector,
        pytest.raises(EngineBroken, match=r"limits\.job_deadline"),
    ):
        inspector.inspect(a_result().job, Claim())


def test_the_canary_is_no_job_in_the_numbers() -> None:
    metrics = Metrics()
    with open_station("null", metrics) as inspector:
        inspector.canary.ask()
    assert not [sample for metric in metrics.batch_size.collect() for sample in metric.samples]


def test_an_engine_that_fails_on_the_canary_never_starts() -> None:
    with pytest.raises(EngineBroken, match="the stand-in is broken"), open_station("broken", Metrics()):
        pass


def test_an_image_that_fails_alone_is_at_fault_when_the_canary_is_answered_rightly() -> None:
    with open_station("failing", Metrics()) as inspector:
        outcome = inspector.inspect(a_result().job, Claim())
    assert isinstance(outcome, DeadLetter)
    assert outcome.reason == "engine_failed"


def test_it_is_not_when_the_canary_is_answered_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_station("failing", Metrics()) as inspector:
        monkeypatch.setattr("tests.stand_ins.candidates_of", lambda _: np.zeros((1, 6), np.float32))
        with pytest.raises(EngineBroken, match="answers the canary otherwise"):
            inspector.inspect(a_result().job, Claim())


@pytest.mark.timeout(30)
def test_a_decoding_that_never_ends_is_seen_and_one_that_ended_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    has_begun, may_end = threading.Event(), threading.Event()

    def stuck(*_: object, **__: object) -> Decoded:
        has_begun.set()
        may_end.wait()
        return Decoded(RED, *RED.shape[:2])

    monkeypatch.setattr("consumer.inspector.decode", stuck)
    with open_station("null", Metrics()) as inspector, ThreadPoolExecutor(1) as worker:
        done = worker.submit(inspector.inspect, a_result().job, Claim())
        has_begun.wait()
        watchdog = Watchdog(lambda: inspector.decoding, inspector.canary, deadline=1)
        for _ in range(3):
            watchdog.look()
        with pytest.raises(EngineBroken, match=a_result().job.job_id):
            watchdog.look()
        may_end.set()
        assert isinstance(done.result(), Result)
        assert not inspector.decoding
