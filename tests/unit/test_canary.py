"""Is a sick engine told from a sound one, whatever the precision and the order of its answers?"""

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from consumer.batcher import Batcher
from consumer.canary import EXACT, ROUGH, Bucket, Canary, Tolerance, WrongAnswer, differs, picture
from consumer.detection.engine import Candidates, Pixels
from consumer.errors import EngineBroken
from consumer.settings import BatchingSettings, ModelSettings
from tests.stand_ins import NullEngine, is_bad

SIZES = [(64, 64), (64, 96), (640, 640)]


def answer(count: int = 40, *, seed: int = 0) -> Candidates:
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 300, (count, 2))
    boxes = np.concatenate([corners, corners + random.uniform(50, 300, (count, 2))], axis=1)
    return np.column_stack([boxes, random.uniform(0, 0.9, count), random.integers(0, 8, count)]).astype(np.float32)


@pytest.mark.thorough
@pytest.mark.parametrize("size", SIZES)
def test_the_picture_is_always_the_same_and_not_flat(size: tuple[int, int]) -> None:
    assert (picture(size) == picture(size)).all()
    assert picture(size).shape == (*size, 3)
    assert picture(size).std() > 40
    assert not is_bad(picture(size)), "the stand-ins fail on it"


# --- what counts as wrong -----------------------------------------------------------------------------------------


def test_the_order_of_candidates_and_their_classes_do_not_count() -> None:
    other = answer()[::-1].copy()
    other[:, 5] = 0
    assert differs(other, answer(), EXACT) is None


@pytest.mark.parametrize(("tolerance", "factor"), [(EXACT, 0.9), (ROUGH, 0.9)])
def test_what_rounding_moves_is_right(tolerance: Tolerance, factor: float) -> None:
    moved = answer()
    moved[:, :4] += factor * tolerance.pixels
    moved[:, 4] += factor * tolerance.confidence
    assert differs(moved, answer(), tolerance) is None


def broken(name: str) -> Candidates:
    wrong = answer()
    best = int(np.argmax(wrong[:, 4]))
    match name:
        case "zeros":
            wrong[:] = 0
        case "nothing":
            wrong = wrong[:0]
        case "not a number":
            wrong[best, 0] = np.nan
        case "infinite":
            wrong[best, 2] = np.inf
        case "one box moved":
            wrong[best, :4] += 1.1 * ROUGH.pixels
        case "one confidence":
            wrong[best, 4] -= 1.1 * ROUGH.confidence
        case "one more":
            wrong = np.concatenate([wrong, [[5, 5, 9, 9, 0.99, 0]]]).astype(np.float32)
        case "another image's":
            wrong = answer(seed=1)
    return wrong


@pytest.mark.parametrize(
    "name",
    ["zeros", "nothing", "not a number", "infinite", "one box moved", "one confidence", "one more", "another image's"],
)
@pytest.mark.parametrize("tolerance", [EXACT, ROUGH])
def test_what_a_sick_device_gives_is_wrong(name: str, tolerance: Tolerance) -> None:
    assert differs(broken(name), answer(), tolerance) is not None


def test_an_engine_that_finds_nothing_in_it_may_go_on_finding_nothing() -> None:
    nothing = np.empty((0, 6), np.float32)
    assert differs(nothing, nothing, EXACT) is None
    assert differs(answer(), nothing, EXACT) is not None


# --- on its way ---------------------------------------------------------------------------------------------------


class Engine(NullEngine):
    """A sound one, until it is told what to do with batches."""

    def __init__(self) -> None:
        super().__init__(ModelSettings(), BatchingSettings(max_batch=4))
        self.sickness: Any = None

    def start(self, images: Pixels) -> Future[Candidates]:
        if self.sickness is None:
            return super().start(images)
        future: Future[Candidates] = Future()
        if isinstance(self.sickness, Exception):
            future.set_exception(self.sickness)
        elif self.sickness != "late":
            future.set_result(np.zeros((len(images), 1, 6), np.float32))
        return future


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def batcher(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Batcher[Bucket, Candidates]]:
    monkeypatch.setattr("consumer.batcher.CLOSING_TIME", 0.01)
    memory = np.empty((4, 4, 64, 64, 3), np.uint8)
    with Batcher[Bucket, Candidates](
        engine.start,
        lambda slab, _: memory[slab],
        places=engine.places,
        slabs=len(memory),
        max_batch=4,
        max_wait=0.0,
        on_start=lambda *_: None,
    ) as running:
        yield running


def test_a_sound_engine_answers_as_at_its_start(engine: Engine, batcher: Batcher[Bucket, Candidates]) -> None:
    canary = Canary(batcher, engine.model, deadline=10)
    canary.ask()
    canary.ask()


@pytest.mark.parametrize(
    ("sickness", "fact"),
    [("zeros", "otherwise than at its start"), (RuntimeError("no more"), "fails on the canary: RuntimeError: no more")],
)
def test_a_sick_engine_is_found_out_and_may_recover(
    engine: Engine, batcher: Batcher[Bucket, Candidates], sickness: Any, fact: str
) -> None:
    canary = Canary(batcher, engine.model, deadline=10)
    engine.sickness = sickness
    with pytest.raises(WrongAnswer, match=fact):
        canary.ask()
    engine.sickness = None
    canary.ask()


def test_an_engine_that_is_late_is_broken_at_once(engine: Engine, batcher: Batcher[Bucket, Candidates]) -> None:
    canary = Canary(batcher, engine.model, deadline=0.05)
    engine.sickness = "late"
    with pytest.raises(EngineBroken, match=r"limits\.job_deadline") as caught:
        canary.ask()
    assert not isinstance(caught.value, WrongAnswer)


def test_an_engine_that_cannot_answer_it_at_the_start_is_broken(
    engine: Engine, batcher: Batcher[Bucket, Candidates]
) -> None:
    engine.sickness = RuntimeError("never did")
    with pytest.raises(EngineBroken, match="never did"):
        Canary(batcher, engine.model, deadline=10)
