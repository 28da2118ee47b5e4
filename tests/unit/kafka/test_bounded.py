"""Does a call that was ended from outside leave anything behind?"""

import gc
import threading
import weakref
from collections.abc import Iterator
from functools import partial

import pytest

from consumer.kafka import bounded
from consumer.kafka.bounded import Overrun, call_within
from tests.rigs.deadline import wait_until


class Client:
    def __init__(self) -> None:
        self.may_answer = threading.Event()

    def ask(self, *, is_refused: bool) -> None:
        self.may_answer.wait(20)
        if is_refused:
            raise ValueError("no")


@pytest.fixture(autouse=True)
def _without_collector() -> Iterator[None]:
    """A full collection may be minutes away in a process that has been long at work."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_call_that_came_back_keeps_its_client_no_longer(is_refused: bool) -> None:
    client = Client()
    client.may_answer.set()
    known = weakref.ref(client)
    said = ""
    try:
        call_within(20, partial(client.ask, is_refused=is_refused), name="ask")
    except ValueError as error:
        said = str(error)
    del client
    assert said == ("no" if is_refused else "")
    wait_until(lambda: known() is None, within=5, what="the client is forgotten")  # by the thread too


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_call_that_came_back_too_late_keeps_its_client_no_longer(
    is_refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "GRACE", 0)
    client = Client()
    known = weakref.ref(client)
    overruns = []
    try:
        call_within(0.01, partial(client.ask, is_refused=is_refused), name="ask")
    except Overrun as overrun:
        overruns.append((str(overrun), overrun.answer))
    ((said, answer),) = overruns
    assert said == "ask does not come back"
    assert not answer.done()
    client.may_answer.set()
    del client
    wait_until(lambda: answer.done() and known() is None, within=5, what="the client is forgotten")
