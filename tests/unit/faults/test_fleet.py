"""Does the fleet tell of a consumer that ended, and does it know who runs?"""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.fleet import Replicas
from tests.rigs.deadline import wait_until

pytestmark = pytest.mark.thorough


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def fleet(tmp_path: Path, lines: list[str]) -> Iterator[Replicas]:
    """Its consumers have no settings that could be run, so each ends with 2 a second after its start."""
    with Replicas(tmp_path, {}, {}, lines.append, has_slots=True) as replicas:
        yield replicas


def test_a_consumer_that_ends_by_itself_is_noted_and_replaced(fleet: Replicas, lines: list[str]) -> None:
    first = fleet.add()
    assert first.wait(30) == 2
    assert not fleet.check()
    assert "replica-1 ended with 2" in fleet.unexpected[0]
    assert any("UNEXPECTED: replica-1" in line for line in lines)
    assert [replica.name for replica in fleet.all] == ["replica-2"]


def test_one_that_was_ended_on_purpose_is_not_noted(fleet: Replicas) -> None:
    first = fleet.add()
    first.kill()
    fleet.forget(first)
    assert fleet.check()
    assert fleet.unexpected == []


def test_one_that_is_stalled_does_not_run(fleet: Replicas) -> None:
    stalled, other = fleet.add(), fleet.add()
    stalled.pause()
    wait_until(lambda: stalled not in fleet.running, within=10, what="the signal arrives")
    assert stalled in fleet.all
    other.kill()
    assert fleet.running == []


def test_one_that_never_becomes_ready_is_stuck(fleet: Replicas) -> None:
    fleet.add().wait(30)
    [said] = fleet.unready(within=1)
    assert said.startswith("replica-1 is not ready")


def test_a_replacement_takes_over_the_slot_of_the_gone_one(fleet: Replicas, tmp_path: Path) -> None:
    first, _ = fleet.add(), fleet.add()
    fleet.forget(first)
    first.kill()
    fleet.add()
    slots = [(tmp_path / f"replica-{number}.yaml").read_text().split("slot: ")[1].split()[0] for number in (1, 2, 3)]
    assert slots == ["slot-0", "slot-1", "slot-0"]


def test_one_that_does_not_end_with_0_after_sigterm_is_noted(fleet: Replicas) -> None:
    replica = fleet.add()
    replica.pause()
    wait_until(lambda: fleet.running == [], within=10, what="the signal arrives")
    replica.kill()
    assert replica.wait(5) == -signal.SIGKILL
    fleet.add()
    fleet.drain(within=30)  # by SIGTERM or by its settings: not with 0
    assert len(fleet.unexpected) == 1
