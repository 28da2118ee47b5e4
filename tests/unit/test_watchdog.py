"""When does the watchdog ask, and when does it end the process?"""

import threading
from queue import Queue

import pytest

from consumer.canary import WrongAnswer
from consumer.errors import EngineBroken, Fatal
from consumer.inspector import Decoding
from consumer.watchdog import IDLE, LATEST, Watchdog, watched

DEADLINE = 3.0
SLOW = Decoding("job-7", "s3://parts/slow.png", 0.0)
QUICK = Decoding("job-8", "s3://parts/quick.png", 0.0)


class Canary:
    """Answers rightly, unless wrong answers are due."""

    def __init__(self) -> None:
        self.idle_for = 0.0
        self.asked = 0
        self.wrong = 0

    def ask(self) -> None:
        self.asked += 1
        self.idle_for = 0.0
        if self.wrong:
            self.wrong -= 1
            raise WrongAnswer("otherwise")


class World:
    """What a watchdog sees."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.decoding: set[Decoding] = set()
        self.canary = Canary()
        self.watchdog = Watchdog(lambda: self.decoding, self.canary, deadline=DEADLINE, clock=lambda: self.now)

    def look(self, seconds: int = 1) -> None:
        for _ in range(seconds):
            self.now += 1
            self.watchdog.look()


@pytest.fixture
def world() -> World:
    return World()


def test_a_busy_engine_is_asked_once_a_minute_and_an_idle_one_soon(world: World) -> None:
    world.look(int(LATEST) - 1)
    assert world.canary.asked == 0
    world.look()
    assert world.canary.asked == 1

    world.canary.idle_for = IDLE
    world.look()
    assert world.canary.asked == 2


def test_one_wrong_answer_is_forgiven_when_the_next_is_right(world: World) -> None:
    for _ in range(3):
        world.canary.idle_for, world.canary.wrong = IDLE, 1
        world.look(2)
        assert world.canary.wrong == 0
    assert world.canary.asked == 6, "a wrong answer is not left alone"


def test_two_wrong_answers_in_a_row_end_the_process(world: World) -> None:
    world.canary.idle_for, world.canary.wrong = IDLE, 2
    world.look()
    with pytest.raises(EngineBroken, match="otherwise"):
        world.look()


def test_a_decoding_that_never_ends_ends_the_process_by_its_name(world: World) -> None:
    world.decoding = {SLOW}
    world.look(7)
    with pytest.raises(
        EngineBroken, match=r"decoding s3://parts/slow.png of job job-7 lasts .* limit 2 x 3 s \(limits.job_deadline\)"
    ):
        world.look()


def test_many_decodings_one_after_the_other_are_nothing(world: World) -> None:
    for number in range(30):
        world.decoding = {Decoding(f"job-{number}", "s3://parts/a.png", world.now)}
        world.look(6)


def test_the_time_in_which_the_process_was_stopped_is_not_held_against_a_decoding(world: World) -> None:
    world.decoding = {SLOW}
    world.look(2)
    world.now += 3600
    world.look(2)
    world.decoding = {QUICK}
    world.look(2)


def test_what_the_watchdog_finds_fails_the_process(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.watchdog.PERIOD", 0.01)
    world.canary.idle_for, world.canary.wrong = IDLE, 2
    failed: Queue[Fatal] = Queue()
    with watched(world.watchdog, failed.put):
        assert failed.get(timeout=10).exit_code == 5


def test_a_bug_of_the_watchdog_ends_the_process_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.watchdog.PERIOD", 0.01)
    failed: Queue[Fatal] = Queue()

    def decoding() -> set[Decoding]:
        raise ZeroDivisionError

    with watched(Watchdog(decoding, Canary(), deadline=DEADLINE), failed.put):
        assert failed.get(timeout=10).exit_code == 70


def test_no_thread_outlives_the_watch(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.watchdog.PERIOD", 0.01)
    with watched(world.watchdog, lambda _: None):
        [thread] = [thread for thread in threading.enumerate() if thread.name == "watchdog"]
    thread.join(10)
    assert not thread.is_alive()
