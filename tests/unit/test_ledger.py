"""Do outcomes leave in order, each once, while jobs finish out of order and partitions come and go?"""

import itertools
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from consumer.ledger import Entry, Ledger


@pytest.fixture
def clock() -> Iterator[float]:
    return iter(float(second) for second in itertools.count())


@pytest.fixture
def ledger(clock: Iterator[float]) -> Ledger[str, str]:
    ledger: Ledger[str, str] = Ledger(lambda: next(clock))
    ledger.assign("p")
    return ledger


def offsets(entries: list[Entry[str, str]]) -> list[int]:
    return [entry.offset for entry in entries]


def test_nothing_leaves_past_an_unfinished_entry(ledger: Ledger[str, str]) -> None:
    entries = [ledger.open("p", offset, 1) for offset in (5, 6, 9)]
    entries[1].finish(0, "six")
    assert ledger.finished_heads(10) == []

    entries[0].finish(0, "five")
    assert offsets(ledger.finished_heads(10)) == [5, 6]
    assert [entry.outcomes for entry in ledger.finished_heads(10)] == [("five",), ("six",)]


def test_a_look_at_the_heads_takes_nothing_away(ledger: Ledger[str, str]) -> None:
    ledger.open("p", 0, 1).finish(0, "zero")

    assert offsets(ledger.finished_heads(10)) == offsets(ledger.finished_heads(10)) == [0]
    assert offsets(ledger.remove_below("p", 1)) == [0]
    assert (ledger.finished_heads(10), len(ledger)) == ([], 0)


def test_a_record_of_several_jobs_is_finished_when_all_of_them_are(ledger: Ledger[str, str]) -> None:
    entry = ledger.open("p", 0, 3)
    entry.finish(2, "c")
    entry.finish(0, "a")
    assert not entry.is_finished
    assert ledger.finished_heads(10) == []
    with pytest.raises(ValueError, match="misses 1 outcome"):
        _ = entry.outcomes

    entry.finish(1, "b")
    assert entry.outcomes == ("a", "b", "c")
    assert (len(ledger), ledger.count("p")) == (3, 3)


def test_a_record_without_jobs_is_finished_at_once(ledger: Ledger[str, str]) -> None:
    assert ledger.open("p", 0, 0, skipped=("removal",)).outcomes == ()
    assert [(entry.offset, entry.skipped) for entry in ledger.finished_heads(10)] == [(0, ("removal",))]


def test_a_record_without_jobs_takes_room_since_many_could_wait_behind_an_unfinished_one(
    ledger: Ledger[str, str],
) -> None:
    ledger.open("p", 0, 1)
    for offset in range(1, 5):
        ledger.open("p", offset, 0)

    assert (ledger.finished_heads(10), ledger.count("p"), len(ledger)) == ([], 5, 5)
    ledger.remove_below("p", 5)
    assert (ledger.count("p"), len(ledger)) == (0, 0)


def test_of_a_records_many_jobs_the_first_unfinished_one_is_the_head(ledger: Ledger[str, str]) -> None:
    """Else all of them would pass the byte budget at once."""
    older = ledger.open("p", 0, 1)
    places = ledger.open("p", 1, 3).places
    assert [place.is_head for place in places] == [False, False, False]

    older.finish(0, "older")
    ledger.remove_below("p", 1)
    assert [place.is_head for place in places] == [True, False, False]
    places[1].finish("b")
    places[0].finish("a")
    assert [place.is_head for place in places] == [False, False, True]


def test_a_job_has_one_outcome(ledger: Ledger[str, str]) -> None:
    entry = ledger.open("p", 0, 2)
    entry.finish(0, "a")

    with pytest.raises(ValueError, match="has its outcome already"):
        entry.finish(0, "again")
    assert not entry.is_finished


def test_an_outcome_that_the_broker_refused_is_replaced(ledger: Ledger[str, str]) -> None:
    entry = ledger.open("p", 0, 2)
    entry.finish(0, "a")
    entry.finish(1, "b")
    entry.replace(1, "dead letter")

    assert entry.outcomes == ("a", "dead letter")


def test_a_late_answer_of_a_dropped_attempt_does_not_finish_the_new_one(ledger: Ledger[str, str]) -> None:
    first = ledger.open("p", 7, 1)
    assert ledger.drop("p") == 1
    ledger.assign("p")
    second = ledger.open("p", 7, 1)
    first.finish(0, "late")

    assert (first.is_dropped, second.is_dropped, second.is_finished) == (True, False, False)
    assert ledger.finished_heads(10) == []


def test_a_partition_given_again_has_another_epoch(ledger: Ledger[str, str]) -> None:
    epoch = ledger.open("p", 7, 1).epoch
    assert ledger.owns("p", epoch)
    ledger.drop("p")
    assert not ledger.owns("p", epoch)
    ledger.assign("p")
    assert not ledger.owns("p", epoch)
    assert ledger.owns("p", ledger.open("p", 7, 1).epoch)


def test_an_assignment_without_a_revocation_drops_what_was_in_hand(ledger: Ledger[str, str]) -> None:
    entry = ledger.open("p", 7, 1)
    ledger.assign("p")

    assert entry.is_dropped
    assert (len(ledger), ledger.partitions) == (0, ["p"])


def test_an_offset_never_comes_twice_while_the_partition_is_ours(ledger: Ledger[str, str]) -> None:
    ledger.open("p", 7, 1).finish(0, "seven")
    for offset in (7, 6):
        with pytest.raises(ValueError, match=f"offset {offset} of p comes after 7"):
            ledger.open("p", offset, 1)

    ledger.remove_below("p", 8)  # delivered: it must not be done again
    with pytest.raises(ValueError, match="offset 7 of p comes after 7"):
        ledger.open("p", 7, 1)


def test_a_partition_that_is_not_ours_takes_nothing(ledger: Ledger[str, str]) -> None:
    with pytest.raises(ValueError, match="q is not assigned"):
        ledger.open("q", 0, 1)
    assert (ledger.count("q"), ledger.oldest("q"), ledger.drop("q"), ledger.remove_below("q", 9)) == (0, None, 0, [])


def test_a_share_of_one_delivery_is_every_partitions(ledger: Ledger[str, str]) -> None:
    ledger.assign("q")
    for offset in range(10):
        ledger.open("p", offset, 1).finish(0, "p")
    ledger.open("q", 0, 1).finish(0, "q")

    heads = ledger.finished_heads(4)
    assert [(entry.partition, entry.offset) for entry in heads] == [("p", 0), ("p", 1), ("q", 0)]


def test_partitions_that_have_nothing_to_deliver_take_no_share(ledger: Ledger[str, str]) -> None:
    for idle in ("q", "r"):
        ledger.assign(idle)
    ledger.open("r", 0, 1)
    for offset in range(4):
        ledger.open("p", offset, 1).finish(0, "p")

    assert offsets(ledger.finished_heads(4)) == [0, 1, 2, 3]


def test_a_job_is_not_taken_in_hand_without_the_leave_that_its_record_needs(ledger: Ledger[str, str]) -> None:
    asked: list[int] = []
    free, careful = ledger.open("p", 0, 1), ledger.open("p", 1, 2)
    careful.leave = lambda place: asked.append(place.index)

    for place in (*free.places, *careful.places):
        place.take_in_hand()

    assert asked == [0, 1]


def test_an_unfinished_entry_below_the_committed_offset_was_done_by_somebody_else(ledger: Ledger[str, str]) -> None:
    done, open_, above = (ledger.open("p", offset, 2) for offset in (1, 2, 3))
    done.finish(0, "a")
    done.finish(1, "b")

    assert offsets(ledger.remove_below("p", 3)) == [1, 2]
    assert (done.is_dropped, open_.is_dropped, above.is_dropped) == (False, True, False)
    assert (len(ledger), ledger.oldest("p")) == (2, above)


def test_the_oldest_entry_in_hand_is_the_head(ledger: Ledger[str, str]) -> None:
    first, second = ledger.open("p", 1, 1, timestamp=12.5), ledger.open("p", 2, 1)
    assert (first.is_head, second.is_head, first.timestamp) == (True, False, 12.5)
    assert ledger.oldest("p") is first

    ledger.remove_below("p", 2)
    assert (first.is_head, second.is_head) == (False, True)
    ledger.remove_below("p", 3)
    assert not second.is_head


def test_an_entry_knows_when_it_was_opened_and_finished(ledger: Ledger[str, str]) -> None:
    entry = ledger.open("p", 1, 1)
    entry.finish(0, "a")

    assert entry.finished_at == entry.opened_at + 1  # the clock of these tests counts calls


class LedgerMachine(RuleBasedStateMachine):
    """A consumer's whole life against a plain model: lists of offsets per partition."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger: Ledger[int, str] = Ledger(lambda: 0.0)
        self.lines: dict[int, list[Entry[int, str]]] = {}
        self.next_offset = [0, 0, 0]  # committed: where the next owner starts
        self.polled = [0, 0, 0]
        self.delivered: list[list[int]] = [[], [], []]
        self.unfinished: list[tuple[Entry[int, str], int]] = []  # late ones of dropped lines included

    @rule(partition=st.integers(0, 2))
    def assign(self, partition: int) -> None:
        self.drop(partition)
        self.ledger.assign(partition)
        self.lines[partition] = []
        self.polled[partition] = self.next_offset[partition]

    @rule(partition=st.integers(0, 2))
    def drop(self, partition: int) -> None:
        line = self.lines.pop(partition, [])
        assert self.ledger.drop(partition) == sum(max(1, entry.jobs) for entry in line)
        assert all(entry.is_dropped for entry in line)

    @precondition(lambda self: self.lines)
    @rule(choice=st.randoms(use_true_random=False), jobs=st.integers(0, 3), gap=st.integers(0, 2))
    def open(self, choice: Random, jobs: int, gap: int) -> None:
        partition = choice.choice(sorted(self.lines))
        offset = self.polled[partition] + gap  # markers of transactions are gaps
        self.polled[partition] = offset + 1
        entry = self.ledger.open(partition, offset, jobs)
        self.lines[partition].append(entry)
        self.unfinished += [(entry, index) for index in range(jobs)]

    @precondition(lambda self: self.unfinished)
    @rule(choice=st.randoms(use_true_random=False))
    def finish(self, choice: Random) -> None:
        entry, index = self.unfinished.pop(choice.randrange(len(self.unfinished)))
        entry.finish(index, f"{entry.partition}/{entry.offset}/{index}")

    @rule(limit=st.integers(1, 5), is_committed=st.booleans())
    def deliver(self, limit: int, *, is_committed: bool) -> None:
        heads = self.ledger.finished_heads(limit)
        assert len(heads) <= max(limit, len(self.lines))
        for partition, line in self.lines.items():
            mine = [entry for entry in heads if entry.partition == partition]
            assert mine == line[: len(mine)]  # the head, in order, without a gap
            assert all(self.ledger.owns(partition, entry.epoch) for entry in mine)
            if line and line[0].is_finished:
                assert mine  # and none is forgotten
            if is_committed and mine:
                self._commit(partition, mine)

    def _commit(self, partition: int, mine: list[Entry[int, str]]) -> None:
        for entry in mine:
            expected = tuple(f"{partition}/{entry.offset}/{index}" for index in range(entry.jobs))
            assert entry.outcomes == expected
        self.delivered[partition] += [entry.offset for entry in mine]
        self.next_offset[partition] = mine[-1].offset + 1
        assert self.ledger.remove_below(partition, mine[-1].offset + 1) == mine
        self.lines[partition] = self.lines[partition][len(mine) :]

    @invariant()
    def every_offset_is_delivered_once_and_in_order(self) -> None:
        for delivered in self.delivered:
            assert delivered == sorted(set(delivered))

    @invariant()
    def what_is_in_hand_is_what_was_opened_and_not_delivered(self) -> None:
        assert sorted(self.ledger.partitions) == sorted(self.lines)
        for partition, line in self.lines.items():
            assert self.ledger.count(partition) == sum(max(1, entry.jobs) for entry in line)
            assert self.ledger.oldest(partition) is (line[0] if line else None)
            assert [entry.is_head for entry in line] == [index == 0 for index in range(len(line))]
        assert len(self.ledger) == sum(max(1, entry.jobs) for line in self.lines.values() for entry in line)


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
