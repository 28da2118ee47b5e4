"""Does every partition get its share of the room, and nobody more than there is?"""

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from consumer.admission import HIGH_MARK, LOW_MARK, Admission


class Hands:
    """An admission whose admitted records stay in hand until the test says otherwise; a record is its weight."""

    def __init__(self, room: int, *partitions: str) -> None:
        self.in_hand: Counter[str] = Counter()
        self.admission: Admission[str, int] = Admission(room, self.in_hand.__getitem__)
        for partition in partitions:
            self.admission.assign(partition)

    def hold(self, partition: str, count: int, *, jobs: int = 1) -> None:
        for _ in range(count):
            self.admission.hold(partition, jobs)

    def admit(self) -> list[str]:
        order = []
        for partition, jobs in self.admission.admitted():
            self.in_hand[partition] += jobs
            order.append(partition)
        return order


def test_one_partition_alone_may_use_all_of_the_room_but_no_more() -> None:
    hands = Hands(8, "a")
    hands.hold("a", 20)

    assert hands.admit() == ["a"] * 8
    assert (hands.admit(), len(hands.admission)) == ([], 12)


def test_admission_goes_round() -> None:
    hands = Hands(100, "a", "b", "c")
    for partition in "abc":
        hands.hold(partition, 2)

    assert hands.admit() == ["a", "b", "c", "a", "b", "c"]


def test_a_run_of_records_cannot_take_the_share_of_the_others() -> None:
    hands = Hands(8, "a", "b")
    hands.hold("a", 20)
    assert hands.admit() == ["a"] * 6  # its share of 2 and the 4 that are nobody's

    hands.hold("b", 20)
    assert hands.admit() == ["b"] * 2  # its share is still there
    assert hands.in_hand.total() == 8


def test_what_is_lent_goes_to_whoever_was_served_longest_ago() -> None:
    hands = Hands(20, *"abcdefghij")
    for partition in "ab":  # neighbours among many that have nothing to do
        hands.hold(partition, 100)
    hands.admit()
    order: list[str] = []
    for _ in range(20):
        hands.in_hand[max("ab", key=hands.in_hand.__getitem__)] -= 1  # room frees up singly
        order += hands.admit()

    assert order.count("a") == order.count("b") == 10


def test_a_partition_with_nothing_in_hand_may_always_start_one() -> None:
    hands = Hands(2, "a", "b", "c", "d")
    for partition in "abcd":
        hands.hold(partition, 3)

    assert sorted(hands.admit()) == ["a", "b", "c", "d"]
    assert hands.admit() == []


def test_a_record_of_several_jobs_counts_for_all_of_them() -> None:
    hands = Hands(8, "a", "b")
    hands.hold("a", 5, jobs=4)
    hands.hold("b", 5)

    assert hands.admit() == ["a", "b", "a", "b"]  # the second one of a takes the last of what is lent, and more
    assert hands.in_hand == {"a": 8, "b": 2}
    assert hands.admit() == []


def test_records_leave_in_the_order_in_which_they_came() -> None:
    admission: Admission[str, int] = Admission(10, lambda _: 0)
    admission.assign("a")
    for offset in (4, 5, 6):
        admission.hold("a", offset)

    assert admission.first("a") == 4
    assert [record for _, record in admission.admitted()] == [4, 5, 6]
    assert admission.first("a") is None


def test_what_a_dropped_partition_held_is_gone() -> None:
    hands = Hands(10, "a", "b")
    hands.hold("a", 3)
    hands.hold("b", 1)

    assert hands.admission.drop("a") == 3
    assert (hands.admission.drop("a"), hands.admission.first("a"), len(hands.admission)) == (0, None, 1)
    assert hands.admit() == ["b"]


def test_what_a_partition_held_does_not_survive_a_new_assignment() -> None:
    hands = Hands(10, "a")
    hands.hold("a", 3)
    hands.admission.assign("a")

    assert hands.admit() == []


def test_a_partition_is_paused_only_when_its_queue_is_full_and_resumed_when_it_is_nearly_empty() -> None:
    hands = Hands(1, "a", "b")
    hands.hold("a", HIGH_MARK - 1)
    assert (hands.admission.full(), hands.admission.drained()) == ([], ["b"])
    hands.hold("a", 1)
    assert hands.admission.full() == ["a"]

    slow = Hands(HIGH_MARK - LOW_MARK, "a")
    slow.hold("a", HIGH_MARK)
    assert slow.admission.drained() == []
    slow.admit()
    assert (slow.admission.full(), slow.admission.drained()) == ([], ["a"])


def test_no_more_is_polled_for_than_there_is_room() -> None:
    hands = Hands(100, "a", "b")
    assert hands.admission.wanted == 100 + LOW_MARK
    hands.hold("a", 20)
    hands.in_hand["b"] = 30
    assert hands.admission.wanted == 50 + LOW_MARK


def test_polling_goes_on_when_there_is_no_room() -> None:
    hands = Hands(4, "a", "b")
    hands.in_hand["a"] = 4
    hands.hold("b", HIGH_MARK - 1)

    assert hands.admission.wanted == 1


def test_stuck_partitions_do_not_slow_the_polling_of_the_others() -> None:
    hands = Hands(100, "free", *(f"stuck{number}" for number in range(20)))
    for number in range(20):
        hands.hold(f"stuck{number}", HIGH_MARK)

    assert hands.admission.wanted == 100 + LOW_MARK


class AdmissionMachine(RuleBasedStateMachine):
    """Records of one to three jobs come, are admitted and finish, while partitions come and go."""

    ROOM = 12

    def __init__(self) -> None:
        super().__init__()
        self.in_hand: Counter[int] = Counter()
        self.admission: Admission[int, tuple[int, int]] = Admission(self.ROOM, self.in_hand.__getitem__)
        self.waiting: dict[int, list[tuple[int, int]]] = {}
        self.number = 0

    @rule(partition=st.integers(0, 5))
    def assign(self, partition: int) -> None:
        self.drop(partition)
        self.admission.assign(partition)
        self.waiting[partition] = []

    @rule(partition=st.integers(0, 5))
    def drop(self, partition: int) -> None:
        assert self.admission.drop(partition) == len(self.waiting.pop(partition, []))
        del self.in_hand[partition]

    @precondition(lambda self: self.waiting)
    @rule(pick=st.integers(0, 100), count=st.integers(1, 20), jobs=st.integers(1, 3))
    def hold(self, pick: int, count: int, jobs: int) -> None:
        partition = sorted(self.waiting)[pick % len(self.waiting)]
        for _ in range(count):
            self.number += 1
            self.admission.hold(partition, (self.number, jobs))
            self.waiting[partition].append((self.number, jobs))

    @rule(partition=st.integers(0, 5), jobs=st.integers(1, 5))
    def finish(self, partition: int, jobs: int) -> None:
        self.in_hand[partition] -= min(jobs, self.in_hand[partition])

    @precondition(lambda self: self.waiting)
    @rule()
    def admit(self) -> None:
        before = self.in_hand.total()
        for partition, record in self.admission.admitted():
            assert record == self.waiting[partition].pop(0)
            self.in_hand[partition] += record[1]
        lines = len(self.waiting)
        share = max(1, self.ROOM // 2 // lines)
        # A record is never split: the last one of each partition may pass the room by two jobs.
        assert self.in_hand.total() <= max(before, self.ROOM, lines) + 2 * lines
        for partition, records in self.waiting.items():
            if records:
                assert self.in_hand[partition] >= share  # its own share is never withheld
        if any(self.waiting.values()):
            idle = sum(max(0, share - self.in_hand[partition]) for partition in self.waiting)
            assert self.in_hand.total() + idle >= self.ROOM  # nobody waits while there is room for all

    @invariant()
    def nothing_is_lost(self) -> None:
        assert len(self.admission) == sum(map(len, self.waiting.values()))
        assert self.admission.wanted >= 1
        for partition, records in self.waiting.items():
            assert self.admission.first(partition) == (records[0] if records else None)


TestAdmissionMachine = AdmissionMachine.TestCase
TestAdmissionMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("partitions", [1, 3, 7, 40])
@pytest.mark.parametrize("room", [1, 2, 7, 256])
def test_the_room_bounds_what_is_in_hand(room: int, partitions: int) -> None:
    names = [str(number) for number in range(partitions)]
    hands = Hands(room, *names)
    for name in names:
        hands.hold(name, 2 * room)
    hands.admit()

    assert hands.in_hand.total() == max(room, partitions)
