"""From when to when does a recovery last?"""

from tests.faults.witness import Recovery
from tests.rigs.outcomes import Outcome, Source


def outcome(partition: int, offset: int) -> Outcome:
    return Outcome("results", partition, offset, Source("jobs", partition, offset), key=None, value=b"", headers=())


def test_it_lasts_until_every_partition_that_had_jobs_waiting_has_an_outcome() -> None:
    recovery = Recovery("killed", since=100, waiting={0, 1}, beyond={})
    recovery.see(outcome(0, 5), 101)
    recovery.see(outcome(2, 5), 102)
    assert (recovery.first, recovery.every) == (1, None)
    recovery.see(outcome(1, 5), 107)
    assert (recovery.first, recovery.every) == (1, 7)
    recovery.see(outcome(1, 6), 109)
    assert (recovery.first, recovery.every) == (1, 7)


def test_what_was_committed_before_does_not_count_although_it_is_read_later() -> None:
    recovery = Recovery("killed", since=100, waiting={0}, beyond={("results", 0): 6})
    recovery.see(outcome(0, 5), 101)
    assert recovery.first is None
    recovery.see(outcome(0, 6), 108)
    assert recovery.every == 8
