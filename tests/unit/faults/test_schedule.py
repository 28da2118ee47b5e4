"""Does a seed alone say what is struck?"""

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.cells import Cell, cells, merged
from tests.faults.schedule import JOBS_A_STRIKE, strikes_of
from tests.faults.world import World


class Nothing:
    """A fault that harms nobody."""

    settings: Mapping[str, Mapping[str, Any]] = {}
    needs: frozenset[str] = frozenset()

    def __init__(self, name: str) -> None:
        self.name = name

    def strike(self, world: World, rng: random.Random) -> None:
        pass


KINDS = [Nothing(name) for name in "abcde"]
seeds = st.integers(0, 2**32)
unhurried = settings(deadline=None)  # a busy machine is no fault


@unhurried
@given(seeds, st.integers(1, 200_000))
def test_the_same_seed_strikes_the_same(seed: int, jobs: int) -> None:
    one, other = strikes_of(KINDS, seed, jobs), strikes_of(KINDS, seed, jobs)
    assert one == other
    assert [strike.rng.random() for strike in one] == [strike.rng.random() for strike in other]


@unhurried
@given(seeds, st.integers(1, 200_000))
def test_every_kind_is_struck_and_none_twice_more_than_another(seed: int, jobs: int) -> None:
    times = Counter(strike.fault.name for strike in strikes_of(KINDS, seed, jobs))
    assert times.keys() == {kind.name for kind in KINDS}
    assert max(times.values()) - min(times.values()) <= 1


@unhurried
@given(seeds)
def test_a_longer_run_begins_with_the_strikes_of_a_shorter_one(seed: int) -> None:
    short, long = (strikes_of(KINDS, seed, count * JOBS_A_STRIKE) for count in (6, 20))
    assert len(short) == 6
    assert long[:6] == short


def test_another_seed_strikes_otherwise() -> None:
    plans = {tuple(strikes_of(KINDS, seed, 50_000)) for seed in range(20)}
    assert len(plans) == 20


def test_every_cell_has_a_name_of_its_own_and_faults() -> None:
    names = [cell.name for cell in cells()]
    assert len(set(names)) == len(names)
    assert all(cell.faults for cell in cells())


def test_settings_of_faults_are_merged_and_the_brokers_own_left_out_where_the_protocol_has_them_there() -> None:
    slow = Nothing("slow")
    slow.settings = {"kafka": {"extra": {"session.timeout.ms": 45_000, "linger.ms": 1}}}
    cell = Cell("slow", (slow,))
    assert cell.settings("classic")["kafka"]["extra"] == {
        "session.timeout.ms": 45_000,
        "heartbeat.interval.ms": 1000,
        "linger.ms": 1,
    }
    assert cell.settings("consumer")["kafka"]["extra"] == {"linger.ms": 1}
    assert (cell.session_timeout("classic"), cell.session_timeout("consumer")) == (45, 6)


def test_merging_changes_neither() -> None:
    one: dict[str, Any] = {"a": {"b": 1}}
    assert merged(one, {"a": {"c": 2}}) == {"a": {"b": 1, "c": 2}}
    assert one == {"a": {"b": 1}}
