"""Does every request get its own answer, in few batches, whatever its neighbours and the engine do?"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import Empty, Queue
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.batcher import Batcher, Seat
from consumer.errors import Abandoned, EngineBroken, OutOfDeviceMemory

LONG = 10.0  # a bound that only a broken batcher reaches
Cells = list[list[Any]]  # a slot is a list of one value


class ManualEngine:
    """Shows each batch that was started, and answers when the test says so."""

    def __init__(self) -> None:
        self.batches: Queue[tuple[list[Any], Future[Any]]] = Queue()

    def start(self, cells: Cells) -> Future[Any]:
        future: Future[Any] = Future()
        self.batches.put(([cell[0] for cell in cells], future))
        return future

    def take(self) -> tuple[list[Any], Future[Any]]:
        return self.batches.get(timeout=LONG)

    def answer(self) -> list[Any]:
        """Answer the next batch, each request with its own value; returns what was in the batch."""
        values, future = self.take()
        future.set_result([f"answer {value}" for value in values])
        return values


def at_once(work: Callable[[list[Any]], Sequence[Any]]) -> Callable[[Cells], Future[Any]]:
    """An engine that has its answers, or its error, ready when `start` returns."""

    def start(cells: Cells) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work([cell[0] for cell in cells]))
        except Exception as error:  # noqa: BLE001
            future.set_exception(error)
        return future

    return start


def plain(values: list[Any]) -> list[str]:
    return [f"answer {value}" for value in values]


@contextmanager
def open_batcher(
    start: Callable[[Any], Any],
    *,
    places: int = 1,
    slabs: int = 6,
    max_batch: int = 4,
    max_wait: float = 0.0,
    sizes: list[int] | None = None,
) -> Iterator[Batcher[str, Any]]:
    slots = [[[None] for _ in range(max_batch)] for _ in range(slabs)]
    seen: list[int] = [] if sizes is None else sizes
    with Batcher[str, Any](
        start,
        lambda slab, _: slots[slab],
        places=places,
        slabs=slabs,
        max_batch=max_batch,
        max_wait=max_wait,
        on_start=lambda _, size: seen.append(size),
    ) as batcher:
        yield batcher


def ask(batcher: Batcher[str, Any], value: Any, bucket: str = "square") -> Seat[str, Any]:
    with batcher.seat(bucket) as seat:
        seat.slot[0] = value
    return seat


@pytest.fixture
def engine() -> ManualEngine:
    return ManualEngine()


@pytest.fixture
def helper() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


# --- filling ------------------------------------------------------------------------------------------------------


def test_a_full_batch_starts_without_waiting(engine: ManualEngine) -> None:
    with open_batcher(engine.start, max_batch=3, max_wait=600) as batcher:
        seats = [ask(batcher, value) for value in (1, 2, 3)]

        assert engine.answer() == [1, 2, 3]
        assert [seat.answer(LONG) for seat in seats] == ["answer 1", "answer 2", "answer 3"]


def test_a_lone_request_starts_when_it_has_waited_long_enough(engine: ManualEngine) -> None:
    with open_batcher(engine.start, max_batch=3, max_wait=0.01) as batcher:
        seat = ask(batcher, 1)

        assert engine.answer() == [1]
        assert seat.answer(LONG) == "answer 1"


def test_what_comes_while_the_engine_is_busy_shares_the_next_batch(engine: ManualEngine) -> None:
    with open_batcher(engine.start, max_batch=3) as batcher:
        ask(batcher, "first")
        values, first = engine.take()
        for value in range(5):
            ask(batcher, value)
        first.set_result(plain(values))

        assert [engine.answer(), engine.answer()] == [[0, 1, 2], [3, 4]]


def test_no_more_batches_run_than_the_engine_has_places(engine: ManualEngine) -> None:
    with open_batcher(engine.start, places=2, max_batch=1) as batcher:
        seats = [ask(batcher, value) for value in range(4)]
        running = [engine.take(), engine.take()]
        with pytest.raises(Empty):
            engine.batches.get(timeout=0.05)
        for values, future in running:
            future.set_result(plain(values))
        engine.answer(), engine.answer()

        assert [seat.answer(LONG) for seat in seats] == plain([0, 1, 2, 3])


def test_a_bucket_never_starves_another(engine: ManualEngine) -> None:
    with open_batcher(engine.start, max_batch=1) as batcher:
        ask(batcher, "running", "square")
        values, running = engine.take()
        for value, bucket in (("s1", "square"), ("w", "wide"), ("s2", "square")):
            ask(batcher, value, bucket)
        running.set_result(plain(values))

        assert [engine.answer() for _ in range(3)] == [["s1"], ["w"], ["s2"]]


def test_a_batch_holds_one_bucket_only(engine: ManualEngine) -> None:
    with open_batcher(engine.start, max_batch=4) as batcher:
        ask(batcher, "running")
        values, running = engine.take()
        for value, bucket in ((1, "square"), (2, "wide"), (3, "square"), (4, "wide")):
            ask(batcher, value, bucket)
        running.set_result(plain(values))

        assert [engine.answer(), engine.answer()] == [[1, 3], [2, 4]]


def test_a_sealed_batch_waits_for_the_slots_that_are_being_written(engine: ManualEngine) -> None:
    with open_batcher(engine.start, max_batch=2, max_wait=600) as batcher:
        first = ask(batcher, "early")
        with batcher.seat("square") as second:
            with pytest.raises(Empty):
                engine.batches.get(timeout=0.05)
            second.slot[0] = "late"

        assert engine.answer() == ["early", "late"]
        assert (first.answer(LONG), second.answer(LONG)) == ("answer early", "answer late")


def test_a_slab_is_not_written_while_its_batch_runs(engine: ManualEngine, helper: ThreadPoolExecutor) -> None:
    shown: Queue[Cells] = Queue()

    def start(cells: Cells) -> Future[Any]:
        shown.put(cells)
        return engine.start(cells)

    with open_batcher(start, slabs=1, max_batch=1) as batcher:
        ask(batcher, "running")
        values, running = engine.take()
        blocked = helper.submit(ask, batcher, "next")
        with pytest.raises(TimeoutError):
            blocked.result(timeout=0.05)

        assert shown.get(timeout=LONG) == [["running"]]
        running.set_result(plain(values))
        assert engine.answer() == ["next"]
        assert blocked.result(LONG).answer(LONG) == "answer next"


# --- void seats ---------------------------------------------------------------------------------------------------


def fail_to_write(batcher: Batcher[str, Any]) -> None:
    with pytest.raises(ZeroDivisionError), batcher.seat("square"):
        raise ZeroDivisionError


def test_a_request_that_could_not_be_written_does_not_fail_its_neighbours(engine: ManualEngine) -> None:
    with open_batcher(engine.start, max_batch=3, max_wait=600) as batcher:
        first = ask(batcher, 1)
        fail_to_write(batcher)
        last = ask(batcher, 3)

        assert engine.answer() == [1, None, 3]
        assert (first.answer(LONG), last.answer(LONG)) == ("answer 1", "answer 3")


def test_a_batch_of_which_nothing_was_written_never_starts_and_gives_its_slab_back() -> None:
    sizes: list[int] = []
    with open_batcher(at_once(plain), slabs=1, max_batch=2, max_wait=600, sizes=sizes) as batcher:
        for _ in range(4):
            fail_to_write(batcher)
        seats = [ask(batcher, value) for value in (1, 2)]

        assert [seat.answer(LONG) for seat in seats] == plain([1, 2])
    assert sizes == [2]


# --- failures -----------------------------------------------------------------------------------------------------


class Poisoned(Exception):
    pass


def refuse_poison(values: list[Any]) -> list[str]:
    if "poison" in values:
        raise Poisoned(str(values))
    return plain(values)


@pytest.mark.parametrize("place", range(5))
def test_a_bad_item_does_not_fail_its_batch(place: int) -> None:
    values: list[Any] = [0, 1, 2, 3, 4]
    values[place] = "poison"
    with open_batcher(at_once(refuse_poison), max_batch=5, max_wait=600, slabs=1) as batcher:
        seats = [ask(batcher, value) for value in values]

        with pytest.raises(Poisoned, match=r"^\['poison'\]$"):
            seats[place].answer(LONG)
        good = [seat.answer(LONG) for seat in seats if seat is not seats[place]]
        assert good == plain([value for value in values if value != "poison"])


def test_what_is_tried_again_comes_before_what_came_later(engine: ManualEngine) -> None:
    with open_batcher(engine.start, max_batch=2, max_wait=600) as batcher:
        for value in (1, 2, 3, 4):
            ask(batcher, value)
        _, whole = engine.take()
        whole.set_exception(Poisoned())

        assert [engine.answer() for _ in range(3)] == [[1], [2], [3, 4]]


def test_a_slab_stays_taken_until_both_halves_are_done(engine: ManualEngine, helper: ThreadPoolExecutor) -> None:
    with open_batcher(engine.start, slabs=1, max_batch=2, max_wait=600) as batcher:
        for value in (1, 2):
            ask(batcher, value)
        _, whole = engine.take()
        whole.set_exception(Poisoned())
        values, half = engine.take()
        next_one = helper.submit(ask, batcher, 3)
        with pytest.raises(TimeoutError):
            next_one.result(timeout=0.05)
        half.set_result(plain(values))

        assert engine.answer() == [2]
        next_one.result(LONG)
        ask(batcher, 4)
        assert engine.answer() == [3, 4]


def too_few(values: list[Any]) -> list[str]:
    return plain(values[1:])


def too_many(values: list[Any]) -> list[str]:
    return plain([*values, "one more"])


def no_sequence(values: list[Any]) -> Any:
    return None


def out_of_reach(cells: Cells) -> Future[Any]:
    raise Poisoned("start raises")


def no_future(cells: Cells) -> Any:
    return None


def cancelled(cells: Cells) -> Future[Any]:
    future: Future[Any] = Future()
    future.cancel()
    return future


@pytest.mark.parametrize(
    "start",
    [at_once(too_few), at_once(too_many), at_once(no_sequence), out_of_reach, no_future, cancelled],
    ids=["too few answers", "too many answers", "no answers", "start raises", "no future", "cancelled future"],
)
def test_whatever_an_engine_does_its_callers_hear_of_it(start: Callable[[Cells], Any]) -> None:
    with open_batcher(start, slabs=1, max_batch=3, max_wait=600) as batcher:
        for _ in range(3):  # neither a place nor a slab is lost on the way
            seats = [ask(batcher, value) for value in (1, 2, 3)]
            for seat in seats:
                with pytest.raises((Poisoned, RuntimeError, TypeError, AttributeError, CancelledError)):
                    seat.answer(LONG)


def test_a_storage_that_fails_costs_no_slab() -> None:
    slots: Cells = [[None]]

    def storage(slab: int, bucket: str) -> Cells:
        if bucket == "huge":
            raise ValueError("larger than a slab")
        return slots

    with Batcher[str, Any](
        at_once(plain), storage, places=1, slabs=1, max_batch=1, max_wait=0.0, on_start=lambda *_: None
    ) as batcher:
        for _ in range(3):
            with pytest.raises(ValueError, match="larger"):
                batcher.seat("huge")
        assert ask(batcher, 1).answer(LONG) == "answer 1"


# --- out of memory ------------------------------------------------------------------------------------------------


def fits(limit: int, sizes: list[int]) -> Callable[[list[Any]], list[str]]:
    def work(values: list[Any]) -> list[str]:
        sizes.append(len(values))
        if len(values) > limit:
            raise OutOfDeviceMemory(f"{len(values)} > {limit}")
        return plain(values)

    return work


def test_out_of_memory_halves_the_batch_and_remembers_the_ceiling() -> None:
    sizes: list[int] = []
    with open_batcher(at_once(fits(4, sizes)), max_batch=8, max_wait=600) as batcher:
        seats = [ask(batcher, value) for value in range(8)]
        assert [seat.answer(LONG) for seat in seats] == plain(list(range(8)))
        assert batcher.ceiling == 4

        seats = [ask(batcher, value) for value in range(8)]
        assert [seat.answer(LONG) for seat in seats] == plain(list(range(8)))
    assert sizes == [8, 4, 4, 4, 4]


def test_batches_that_were_filled_before_are_split_to_the_new_ceiling(engine: ManualEngine) -> None:
    with open_batcher(engine.start, max_batch=8, max_wait=600) as batcher:
        seats = [ask(batcher, value) for value in range(16)]
        _, first = engine.take()
        first.set_exception(OutOfDeviceMemory("8 images"))
        _, half = engine.take()
        half.set_exception(OutOfDeviceMemory("4 images"))

        assert [engine.answer() for _ in range(8)] == [[value, value + 1] for value in range(0, 16, 2)]
        assert [seat.answer(LONG) for seat in seats] == plain(list(range(16)))
        assert batcher.ceiling == 2


def test_one_image_alone_that_does_not_fit_lowers_no_ceiling() -> None:
    sizes: list[int] = []
    with open_batcher(at_once(fits(0, sizes)), max_batch=8) as batcher:
        seat = ask(batcher, 1)
        with pytest.raises(OutOfDeviceMemory):
            seat.answer(LONG)
        assert batcher.ceiling == 8


# --- an engine that is gone ---------------------------------------------------------------------------------------


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.batcher.CLOSING_TIME", 0.01)


@pytest.mark.usefixtures("_impatient")
def test_an_engine_that_never_answers_is_named(engine: ManualEngine) -> None:
    with open_batcher(engine.start) as batcher:
        seat = ask(batcher, 1)
        engine.take()
        with pytest.raises(EngineBroken, match=r"limits\.job_deadline"):
            seat.answer(0.01)


@pytest.mark.usefixtures("_impatient")
def test_an_engine_that_hangs_in_start_is_named_and_does_not_hold_up_the_end() -> None:
    is_over = threading.Event()

    def start(_: Cells) -> Future[Any]:
        is_over.wait(LONG)
        return Future()

    with open_batcher(start) as batcher:
        seat = ask(batcher, 1)
        with pytest.raises(EngineBroken):
            seat.answer(0.01)
    is_over.set()


def test_waiting_for_a_place_is_not_held_against_the_engine(engine: ManualEngine, helper: ThreadPoolExecutor) -> None:
    with open_batcher(engine.start, max_batch=1) as batcher:
        first = ask(batcher, "slow")
        values, running = engine.take()
        second = helper.submit(ask(batcher, "patient").answer, 0.05)
        with pytest.raises(EngineBroken):
            first.answer(0.15)
        assert not second.done()

        running.set_result(plain(values))
        engine.answer()
        assert second.result(LONG) == "answer patient"


def test_the_time_of_a_failed_try_is_not_held_against_the_next_one(
    engine: ManualEngine, helper: ThreadPoolExecutor
) -> None:
    with open_batcher(engine.start, max_batch=2, max_wait=600) as batcher:
        first, second = (ask(batcher, value) for value in (1, 2))
        _, whole = engine.take()
        whole.set_exception(Poisoned())
        values, half = engine.take()
        waiting = helper.submit(second.answer, 0.05)
        with pytest.raises(EngineBroken):
            first.answer(0.15)
        assert not waiting.done()

        half.set_result(plain(values))
        engine.answer()
        assert waiting.result(LONG) == "answer 2"


def test_a_broken_engine_is_not_asked_again_in_halves(engine: ManualEngine) -> None:
    with open_batcher(engine.start, max_batch=4, max_wait=600) as batcher:
        seats = [ask(batcher, value) for value in range(4)]
        _, future = engine.take()
        future.set_exception(EngineBroken("the device fell off the bus"))

        for seat in seats:
            with pytest.raises(EngineBroken, match="bus"):
                seat.answer(LONG)
        assert engine.batches.empty()


# --- the end ------------------------------------------------------------------------------------------------------


def test_closing_abandons_those_who_wait_for_a_batch_or_for_a_slab(
    engine: ManualEngine, helper: ThreadPoolExecutor
) -> None:
    with open_batcher(engine.start, slabs=2, max_batch=1) as batcher:
        running = ask(batcher, "running")
        values, future = engine.take()
        waiting = helper.submit(ask(batcher, "waiting").answer, LONG)
        slabless = helper.submit(ask, batcher, "without a slab")
        closing = helper.submit(batcher.__exit__)

        for caller in (waiting, slabless):
            with pytest.raises(Abandoned):
                caller.result(LONG)
        assert not closing.done()  # the batch that runs still uses its slab
        future.set_result(plain(values))
        closing.result(LONG)
        assert running.answer(LONG) == "answer running"
        with pytest.raises(Abandoned):
            batcher.seat("square")
    assert engine.batches.empty()


def test_a_batch_that_fails_while_closing_is_not_tried_again(engine: ManualEngine, helper: ThreadPoolExecutor) -> None:
    with open_batcher(engine.start, max_batch=2, max_wait=600) as batcher:
        seats = [ask(batcher, value) for value in (1, 2)]
        _, future = engine.take()
        blocked = helper.submit(ask(batcher, 3).answer, LONG)
        closing = helper.submit(batcher.__exit__)
        with pytest.raises(Abandoned):  # it has begun to close
            blocked.result(LONG)
        future.set_exception(Poisoned("too late"))

        for seat in seats:
            with pytest.raises(Poisoned):
                seat.answer(LONG)
        closing.result(LONG)


def test_no_thread_outlives_the_batcher() -> None:
    with open_batcher(at_once(plain)) as batcher:
        ask(batcher, 1).answer(LONG)
        assert "batches" in {thread.name for thread in threading.enumerate()}
    assert "batches" not in {thread.name for thread in threading.enumerate()}


# --- all of it at once --------------------------------------------------------------------------------------------

REQUESTS = st.lists(
    st.tuples(st.sampled_from(["square", "wide", "tall"]), st.sampled_from(["good"] * 6 + ["poison", "void"])),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(
    requests=REQUESTS,
    max_batch=st.integers(1, 8),
    fitting=st.integers(1, 8),
    places=st.integers(1, 3),
    callers=st.integers(1, 8),
)
def test_every_request_gets_its_own_answer_or_its_own_error(
    requests: list[tuple[str, str]], max_batch: int, fitting: int, places: int, callers: int
) -> None:
    sizes: list[int] = []
    over: list[int] = []

    def work(cells: Cells) -> list[Any]:
        values = [cell[0] for cell in cells]
        if len(values) > fitting:
            raise OutOfDeviceMemory
        bad = [value for value in values if value and value[1] == "poison"]
        if bad:
            raise Poisoned(bad)
        return [("answer", value) for value in values]

    def call(number: int) -> Any:
        bucket, kind = requests[number]
        try:
            with batcher.seat(bucket) as seat:
                seat.slot[0] = (number, 1 // (kind != "void") and kind)
            return seat.answer(LONG)
        except ZeroDivisionError:
            return "void"
        except Poisoned as error:
            return error.args[0]

    def start(cells: Cells) -> Future[Any]:
        if places == 1 and len(cells) > batcher.ceiling:
            over.append(len(cells))
        return device.submit(work, cells)

    with (
        ThreadPoolExecutor(places) as device,
        open_batcher(start, places=places, slabs=places + 1, max_batch=max_batch, sizes=sizes) as batcher,
        ThreadPoolExecutor(callers) as pool,
    ):
        answers = list(pool.map(call, range(len(requests))))

        for number, (_, kind) in enumerate(requests):
            expected: dict[str, Any] = {
                "good": ("answer", (number, "good")),
                "poison": [(number, "poison")],
                "void": "void",
            }
            assert answers[number] == expected[kind]
        assert batcher.ceiling >= min(max_batch, max(1, fitting // 2))
    assert max(sizes, default=0) <= max_batch
    assert over == []


# --- how it stands --------------------------------------------------------------------------------------------------


def test_it_is_idle_only_while_nothing_runs_and_nothing_waits(engine: ManualEngine) -> None:
    with open_batcher(engine.start, max_batch=2) as batcher:
        seat = ask(batcher, 1)
        values, running = engine.take()
        assert (batcher.is_running, batcher.idle_for) == (True, 0.0)
        with batcher.seat("wide") as second:
            running.set_result(plain(values))
            seat.answer(LONG)
            assert (batcher.is_running, batcher.idle_for) == (False, 0.0)
            second.slot[0] = 2
        engine.answer()
        second.answer(LONG)
        assert not batcher.is_running
        assert batcher.idle_for < LONG


def test_an_answer_that_came_while_the_process_was_stopped_is_not_late(
    engine: ManualEngine, helper: ThreadPoolExecutor
) -> None:
    """Both clocks ran on; the engine's thread needs a moment to say what it had."""
    with open_batcher(engine.start) as batcher:
        seat = ask(batcher, 1)
        values, running = engine.take()
        batch = seat._batch
        assert batch.started_at is not None
        batch.started_at -= 3600
        waiting = helper.submit(seat.answer, 0.3)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.4)
        running.set_result(plain(values))
        assert waiting.result(LONG) == "answer 1"
