"""Does a signal end what hangs, and nothing between two lines?"""

import signal
from collections.abc import Iterator

import pytest

from consumer.publishing.stopping import Stopping

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize("one", SIGNALS)
def test_a_source_that_hangs_is_broken_off(one: signal.Signals) -> None:
    def hanging() -> Iterator[int]:
        yield 1
        signal.raise_signal(one)
        yield 2

    stopping = Stopping()
    with stopping.signals():
        assert list(stopping.draw(hanging())) == [1]

    assert stopping.is_set()
    assert not stopping.at_once.is_set()


def test_what_is_done_with_a_drawn_one_is_finished_and_a_second_signal_is_in_a_hurry() -> None:
    stopping = Stopping()
    done: list[int] = []
    with stopping.signals():
        for one in stopping.draw(range(5)):
            signal.raise_signal(signal.SIGINT)
            assert not stopping.at_once.is_set()
            signal.raise_signal(signal.SIGTERM)
            done.append(one)

    assert done == [0]
    assert stopping.at_once.is_set()


def test_the_error_of_a_source_comes_through_and_signals_are_as_before() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    stopping = Stopping()
    before = [signal.getsignal(one) for one in SIGNALS]
    with pytest.raises(OSError, match="gone"), stopping.signals():
        for _ in stopping.draw(failing()):
            pass

    assert [signal.getsignal(one) for one in SIGNALS] == before
    assert not stopping.is_set()


def test_a_hang_up_that_nohup_ignores_is_ignored() -> None:
    stopping = Stopping()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping.signals():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)

    assert not stopping.is_set()
