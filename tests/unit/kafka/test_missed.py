"""When does a member believe the group, which gives it partitions of which it has not heard?"""

import pytest

from consumer.kafka.group import NO_ANSWER, Group, Owner
from consumer.kafka.missed import LOOK_EVERY, MISSED_AFTER, SUSPECT_FOR, MissedPartitions

OURS, THEIRS = Owner("us", "client", "host"), Owner("them", "client", "host")
OWNED = {0}


def given(*partitions: int) -> Group:
    return Group("stable", "consumer", 2, {0: OURS, 9: THEIRS} | dict.fromkeys(partitions, OURS))


class Coordinator:
    """What is asked, when; a clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.group = given(1, 2)
        self.asked: list[float] = []
        self.missed = MissedPartitions(self.ask, clock=lambda: self.now)

    def ask(self) -> Group:
        self.asked.append(self.now)
        return self.group

    def time_out(self, count: int = 1) -> None:
        """So many requests of the consumer, in all, were not answered in time."""
        self.missed.on_statistics({"brokers": {"a": {"req_timeouts": count}, "b": {"req_timeouts": 0}, "c": {}}})

    def go_on(self, seconds: float) -> list[int]:
        """A call a second; returns what was found by any of them."""
        found: set[int] = set()
        for _ in range(round(seconds)):
            self.now += 1
            if self.missed.is_due:
                found.update(self.missed.find("us", OWNED))
        return sorted(found)


@pytest.fixture
def coordinator() -> Coordinator:
    return Coordinator()


def test_nobody_is_asked_while_every_request_is_answered(coordinator: Coordinator) -> None:
    coordinator.time_out(0)
    assert coordinator.go_on(300) == []
    assert coordinator.asked == []


def test_what_was_missed_is_found_when_it_has_been_so_for_long(coordinator: Coordinator) -> None:
    coordinator.time_out()
    assert coordinator.go_on(MISSED_AFTER) == []
    assert coordinator.go_on(1) == [1, 2]
    assert coordinator.asked == [1001 + LOOK_EVERY * look for look in range(4)]


def test_what_the_member_hears_of_by_itself_was_not_missed(coordinator: Coordinator) -> None:
    coordinator.time_out()
    coordinator.go_on(10)
    coordinator.group = given()
    coordinator.go_on(5)
    coordinator.group = given(2)
    assert coordinator.go_on(15) == []  # its time begins anew
    assert coordinator.go_on(5) == [2]


def test_no_answer_is_waited_for_and_an_answer_without_owners_changes_nothing(coordinator: Coordinator) -> None:
    coordinator.time_out()
    coordinator.group = NO_ANSWER
    coordinator.go_on(3)
    assert len(coordinator.asked) == 3
    coordinator.group = given(1)
    coordinator.go_on(1)
    coordinator.group = Group("no answer (NOT_COORDINATOR)")
    coordinator.go_on(10)
    assert len(coordinator.asked) == 6
    coordinator.group = given(1)
    assert coordinator.go_on(5) == [1]


def test_looking_ends_a_while_after_the_last_lost_request_if_nothing_is_missed(coordinator: Coordinator) -> None:
    coordinator.group = given()
    coordinator.time_out()
    coordinator.go_on(SUSPECT_FOR + 10)
    looks = len(coordinator.asked)
    assert looks == SUSPECT_FOR / LOOK_EVERY
    coordinator.time_out()  # the same one is told again
    coordinator.go_on(100)
    assert len(coordinator.asked) == looks
    coordinator.time_out(2)
    coordinator.go_on(10)
    assert len(coordinator.asked) == looks + 2


def test_looking_goes_on_while_something_is_missed(coordinator: Coordinator) -> None:
    coordinator.group = given()
    coordinator.time_out()
    coordinator.go_on(SUSPECT_FOR - LOOK_EVERY)
    coordinator.group = given(1)
    assert coordinator.go_on(MISSED_AFTER + LOOK_EVERY) == [1]
