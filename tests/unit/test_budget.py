"""Do fetched bytes stay within their limit, without a partition's head ever being locked out?"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from consumer.budget import ByteBudget, Lease
from consumer.errors import Abandoned


class Clients:
    """A budget of 100 bytes, and what it says it holds."""

    def __init__(self) -> None:
        self.held = [0]
        self.budget = ByteBudget(100, on_change=self.held.append)

    def lease(self, *, is_urgent: bool = False, check: Callable[[], None] = lambda: None) -> Lease:
        return self.budget.lease(is_urgent=lambda: is_urgent, check=check)


@pytest.fixture
def clients() -> Clients:
    return Clients()


@pytest.fixture
def helper() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_bytes_beyond_the_limit_wait_until_others_are_given_back(clients: Clients, helper: ThreadPoolExecutor) -> None:
    with clients.lease() as first, clients.lease() as second:
        first.take(60)
        waiting = helper.submit(second.take, 41)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.05)
        first.give_back()
        waiting.result(timeout=10)
    assert clients.held == [0, 60, 0, 41, 0]


def test_what_fits_exactly_does_not_wait(clients: Clients) -> None:
    with clients.lease() as first, clients.lease() as second:
        first.take(60)
        second.take(40)
        assert clients.held[-1] == 100


def test_a_head_is_always_admitted(clients: Clients) -> None:
    with clients.lease() as first, clients.lease(is_urgent=True) as head:
        first.take(100)
        head.take(50)
        assert clients.held[-1] == 150


def test_a_waiter_that_becomes_the_head_goes_on(clients: Clients, helper: ThreadPoolExecutor) -> None:
    answers = iter([False, True])
    late = clients.budget.lease(is_urgent=lambda: next(answers), check=lambda: None)
    with clients.lease() as first:
        first.take(100)
        helper.submit(late.take, 10).result(timeout=10)
        assert clients.held[-1] == 110


def test_one_image_larger_than_the_whole_budget_passes_alone(clients: Clients) -> None:
    with clients.lease() as lease:
        lease.take(1000)
        assert clients.held[-1] == 1000


def test_a_job_that_is_no_longer_ours_stops_waiting_and_holds_nothing(clients: Clients) -> None:
    def check() -> None:
        raise Abandoned

    with clients.lease() as first:
        first.take(100)
        with pytest.raises(Abandoned), clients.lease(check=check) as second:
            second.take(10)
    assert clients.held[-1] == 0


def test_everything_taken_is_given_back_once(clients: Clients) -> None:
    with clients.lease() as lease:
        lease.take(10)
        lease.take(20)
        lease.give_back()
        lease.take(5)
    lease.give_back()
    assert clients.held == [0, 10, 30, 0, 5, 0]


def test_a_job_that_fails_gives_its_bytes_back(clients: Clients) -> None:
    with pytest.raises(ZeroDivisionError), clients.lease() as lease:
        take_and_fail(lease)
    assert clients.held == [0, 10, 0]


def take_and_fail(lease: Lease) -> None:
    lease.take(10)
    raise ZeroDivisionError
