"""Who pays when a process dies, and who never does?"""

import threading
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from consumer import custody
from consumer.custody import DEATHS, SCHEMA, Custodian, Custody, Note, Position, read_note
from consumer.errors import Abandoned
from consumer.ledger import Entry, Ledger, Place
from tests.rigs.deadline import wait_until

MOST = 32
Group = dict[int, tuple[int, str]]  # per partition the committed offset and its note


class Process:
    """A process as far as custody goes; what it commits stands in the group at once."""

    def __init__(self, group: Group, name: str, partitions: Iterable[int] = (0,)) -> None:
        self.group = group
        self.ledger: Ledger[int, Any] = Ledger(lambda: 0.0)
        self.custodian = Custodian(name, self.ledger, MOST)
        for partition in partitions:
            self.gets(partition)

    def gets(self, partition: int) -> None:
        self.ledger.assign(partition)
        self.custodian.take_over(partition, *self.group.get(partition, (0, "")))

    def commit(self, notes: Iterable[Position], heads: Iterable[Entry[int, Any]] = (), *, in_flight: int = 4) -> None:
        heads = list(heads)
        offsets = {note.partition: note.offset for note in notes} | {head.partition: head.offset + 1 for head in heads}
        for partition, offset in offsets.items():
            self.group[partition] = offset, self.custodian.note(partition, offset, in_flight=in_flight)
        for partition, offset in offsets.items():
            removed = self.ledger.remove_below(partition, offset)
            self.custodian.moved(partition, offset, sum(entry.jobs for entry in removed))
        self.custodian.noted(notes)

    def claims(self, *, in_flight: int = 4) -> "Process":
        self.commit(self.custodian.notes([]), in_flight=in_flight)
        return self

    def begins(self, offset: int, partition: int = 0, *, jobs: int = 1) -> Entry[int, Any]:
        assert self.custodian.may_start(partition)
        return self.ledger.open(partition, offset, jobs)

    def asks(self, place: Place[int, Any]) -> "Asking":
        asking = Asking(self.custodian, place)
        wait_until(lambda: place in [asked for asked, _ in self.custodian._asking], within=5, what="it has asked")
        return asking

    def takes_in_hand(self, entry: Entry[int, Any], index: int = 0) -> None:
        """The job's mark is committed, and it is being decoded."""
        asking = self.asks(entry.places[index])
        self.commit(self.custodian.notes([]))
        asking.is_granted()

    def delivers(self, entry: Entry[int, Any]) -> None:
        for place in entry.places:
            if not place.is_finished:
                place.finish("outcome")
        self.commit(self.custodian.notes([entry]), [entry])

    def does(self, offset: int, partition: int = 0) -> None:
        self.delivers(self.begins(offset, partition))

    def hands_over(self, partition: int = 0) -> None:
        with self.custodian.releasing([partition]) as notes:
            self.commit(notes)
        self.ledger.drop(partition)
        self.custodian.drop(partition)


class Asking:
    """A worker that waits for leave."""

    def __init__(self, custodian: Custodian, place: Place[int, Any]) -> None:
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._ask, args=(custodian, place), daemon=True)
        self._thread.start()

    def _ask(self, custodian: Custodian, place: Place[int, Any]) -> None:
        try:
            custodian.ask(place)
        except Abandoned as error:
            self.error = error

    @property
    def is_waiting(self) -> bool:
        return self._thread.is_alive()

    def ends(self, *, within: float) -> None:
        self._thread.join(within)

    def is_granted(self) -> None:
        self.ends(within=5)
        assert not self.is_waiting
        assert self.error is None


def deaths(group: Group, name: str) -> dict[int, int]:
    """What the next owner holds against the jobs of the record at the head."""
    return dict(Process(group, name).custodian._custody[0].deaths)


def test_nothing_begins_before_the_group_knows_whose_the_partition_is() -> None:
    process = Process({}, "a")
    assert not process.custodian.may_start(0)
    process.claims()
    assert process.custodian.may_start(0)
    assert process.custodian.notes([]) == []


def test_a_claim_of_a_time_before_the_partition_was_taken_away_counts_for_nothing() -> None:
    process = Process({}, "a")
    old = process.custodian.notes([])
    process.gets(0)
    process.custodian.noted(old)
    assert not process.custodian.may_start(0)


def test_what_was_handed_over_is_gone_on_with_at_full_speed() -> None:
    group: Group = {}
    first = Process(group, "a").claims()
    first.does(0)
    first.hands_over()
    assert group[0][0] == 1
    assert not Process(group, "b").claims().custodian.is_careful(0)


def test_who_hands_over_and_dies_later_with_the_same_partition_has_not_handed_it_over() -> None:
    group: Group = {}
    first = Process(group, "a").claims()
    first.hands_over()
    first.gets(0)
    first.claims(in_flight=3)
    assert Process(group, "b").custodian._custody[0].careful == 3


def test_what_went_away_before_it_was_placed_or_claimed_is_nobodys_business_any_more() -> None:
    process = Process({}, "a")
    with process.custodian.releasing([0, 7]) as notes:  # 7: not placed yet
        assert notes == []
    process.custodian.drop(0)
    process.custodian.moved(0, 1, 1)
    process.custodian.noted([Position(partition=0, epoch=1, offset=0)])
    assert process.custodian.note(0, 1, in_flight=1) == ""
    assert process.custodian.notes([]) == []
    assert not process.custodian.may_start(0)


def test_after_a_death_as_many_jobs_as_were_in_flight_are_done_one_at_a_time(caplog: pytest.LogCaptureFixture) -> None:
    group: Group = {}
    Process(group, "a").claims(in_flight=3).begins(0)
    assert caplog.messages == []
    second = Process(group, "b").claims()
    assert caplog.messages == ["the owner before did not hand over: one job at a time"]
    for offset in range(3):
        assert second.custodian.is_careful(0)
        assert second.custodian.careful_count == 1
        entry = second.begins(offset)
        assert not second.custodian.may_start(0), "one at a time"
        second.takes_in_hand(entry)
        second.delivers(entry)
    assert not second.custodian.is_careful(0)
    assert second.custodian.careful_count == 0
    second.begins(3)
    assert second.custodian.may_start(0)


def test_who_gets_its_own_partition_back_after_a_stall_has_not_died() -> None:
    process = Process({}, "a").claims()
    process.takes_in_hand(process.begins(0))
    process.gets(0)
    assert not process.custodian.is_careful(0)
    assert process.custodian._custody[0].deaths == {}


def test_who_gets_its_own_partition_back_has_nothing_in_hand_of_it() -> None:
    """Two marks of one process would stand there as soon as another partition's job is in hand."""
    process = Process({}, "a").claims()
    process.takes_in_hand(process.begins(0))
    process.gets(0)
    process.claims()
    note = read_note(process.group[0][1])
    assert note is not None
    assert note.hand is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "somebody's word",
        '{"schema":"inspection.custody/2","by":"x","in_flight":9,"hand":0}',
        '{"by":"x","in_flight":9,"hand":0}',
        '{"schema":"inspection.custody/1","by":"x","deaths":7}',
    ],
)
def test_what_another_program_or_version_wrote_is_ignored(text: str) -> None:
    assert read_note(text) is None
    process = Process({0: (5, text)}, "b").claims()
    assert not process.custodian.is_careful(0)
    assert process.custodian._custody[0].deaths == {}


@pytest.mark.parametrize(("hand", "careful"), [(None, 0), (0, 1)])
def test_who_died_of_its_only_job_leaves_one_to_be_careful_with(hand: int | None, careful: int) -> None:
    """What was in flight is what stood beside the commit before it."""
    note = msgspec.json.encode(Note(SCHEMA, "a", in_flight=0, hand=hand)).decode()
    assert Custody.taken_over(5, 1, note, by="b", most=MOST).careful == careful


def test_only_the_job_in_hand_is_held_responsible() -> None:
    group: Group = {}
    Process(group, "a").claims().begins(0)  # begun, as many others, when the process died
    assert deaths(group, "x") == {}
    second = Process(group, "b").claims()
    second.begins(0)  # alone, but not fetched yet
    assert deaths(group, "x") == {}
    third = Process(group, "c").claims()
    third.takes_in_hand(third.begins(0))
    assert deaths(group, "x") == {0: 1}


def test_any_number_of_deaths_before_the_decoding_cost_no_job() -> None:
    group: Group = {}
    for name in "abcdefgh":
        Process(group, name).claims().begins(0)
    assert deaths(group, "x") == {}


def kill(group: Group, times: int) -> None:
    """So many owners die with the job at offset 0 in hand, after one that had it among others."""
    Process(group, "first").claims().begins(0)
    for number in range(times):
        owner = Process(group, f"owner-{number}").claims()
        owner.takes_in_hand(owner.begins(0))


def test_the_third_death_in_hand_is_the_last() -> None:
    group: Group = {}
    kill(group, DEATHS - 1)
    owner = Process(group, "b").claims()
    place = owner.begins(0).places[0]
    assert not owner.custodian.has_killed(place)
    owner.takes_in_hand(place.entry)
    last = Process(group, "c").claims()
    assert last.custodian.has_killed(last.begins(0).places[0])
    assert not last.custodian.has_killed(last.ledger.open(0, 1, 1).places[0]), "the one behind it"


def test_deaths_are_remembered_through_owners_that_hand_over() -> None:
    group: Group = {}
    kill(group, 2)
    owner = Process(group, "b").claims()
    owner.hands_over()
    assert deaths(group, "x") == {0: 2}
    next_owner = Process(group, "c").claims()
    assert next_owner.custodian.is_careful(0)


def test_a_job_in_hand_of_an_owner_that_hands_over_is_not_held_responsible() -> None:
    group: Group = {}
    kill(group, 1)
    owner = Process(group, "b").claims()
    owner.takes_in_hand(owner.begins(0))
    owner.hands_over()
    assert deaths(group, "x") == {0: 1}


def test_deaths_speak_of_one_record_alone() -> None:
    group: Group = {}
    kill(group, 3)
    owner = Process(group, "b").claims()
    owner.does(0)
    assert not owner.custodian.has_killed(owner.begins(1).places[0])
    assert deaths(group, "x") == {}


def test_in_a_record_of_several_jobs_each_has_its_own_count() -> None:
    group: Group = {}
    Process(group, "first").claims().begins(0, jobs=3)
    for name, index in (("a", 0), ("b", 1), ("c", 1), ("d", 1)):
        owner = Process(group, name).claims()
        entry = owner.begins(0, jobs=3)
        owner.takes_in_hand(entry, 0)
        if index:
            entry.places[0].finish("outcome")
            owner.takes_in_hand(entry, index)
    assert deaths(group, "x") == {0: 1, 1: 3}


def test_two_jobs_are_never_in_hand_at_once() -> None:
    group: Group = {}
    Process(group, "a", (0, 1)).claims()
    owner = Process(group, "b", (0, 1)).claims()
    entries = [owner.begins(0, partition) for partition in (0, 1)]
    first, second = (owner.asks(entry.places[0]) for entry in entries)
    owner.commit(owner.custodian.notes([]))
    first.is_granted()
    assert owner.custodian.holder is entries[0]
    assert owner.custodian.notes([]) == [], "the other waits until the outcome is delivered"
    entries[0].places[0].finish("outcome")
    assert owner.custodian.notes([]) == [], "and finished is not delivered"
    assert second.is_waiting
    owner.commit(owner.custodian.notes([entries[0]]), [entries[0]])
    second.is_granted()
    notes = {partition: read_note(note) for partition, (_, note) in group.items()}
    assert {partition: note and note.hand for partition, note in notes.items()} == {0: None, 1: 0}


def test_a_mark_that_was_not_committed_lets_nothing_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(custody, "RECHECK", 0.005)
    owner = Process({}, "b").claims()
    asking = owner.asks(owner.begins(0).places[0])
    wanted = owner.custodian.notes([])
    assert wanted
    owner.custodian.noted([])
    asking.ends(within=0.1)
    assert asking.is_waiting
    assert owner.custodian.notes([]) == wanted
    owner.commit(wanted)
    asking.is_granted()


def test_who_waits_for_leave_is_told_when_the_partition_is_gone() -> None:
    owner = Process({}, "b").claims()
    entry = owner.begins(0)
    asking = owner.asks(entry.places[0])
    owner.ledger.drop(0)
    wait_until(lambda: not asking.is_waiting, within=5, what="the worker is free")
    assert isinstance(asking.error, Abandoned)
    assert owner.custodian.notes([]) == []


def test_a_mark_is_not_waited_for_when_its_partition_is_gone() -> None:
    owner = Process({}, "b", (0, 1)).claims()
    first, second = (owner.begins(0, partition) for partition in (0, 1))
    owner.asks(first.places[0])
    asking = owner.asks(second.places[0])
    owner.custodian.notes([])
    owner.ledger.drop(0)
    owner.custodian.drop(0)
    owner.commit(owner.custodian.notes([]))
    asking.is_granted()


def test_the_claim_of_another_partition_is_no_mark() -> None:
    owner = Process({}, "b").claims()
    asking = owner.asks(owner.begins(0).places[0])
    owner.gets(1)
    claim, mark = owner.custodian.notes([])
    owner.custodian.noted([claim])
    assert owner.custodian.notes([]) == [mark]
    owner.commit([mark])
    asking.is_granted()


def test_a_second_death_soon_after_makes_all_careful_that_may_have_been_begun() -> None:
    """How many were in flight is known from the last commit alone; the killer may lie behind them."""
    group: Group = {}
    Process(group, "a").claims(in_flight=2)
    second = Process(group, "b").claims(in_flight=2)
    for offset in range(4):
        second.does(offset)
    assert not second.custodian.is_careful(0)
    third = Process(group, "c").claims()
    assert third.custodian._custody[0].careful >= MOST - 4


def test_a_death_long_after_is_a_first_one_again() -> None:
    group: Group = {}
    Process(group, "a").claims(in_flight=2)
    second = Process(group, "b").claims(in_flight=2)
    for offset in range(MOST):
        second.begins(offset).finish(0, "outcome")
        heads = second.ledger.finished_heads(1)
        second.commit(second.custodian.notes(heads), heads, in_flight=2)
    assert Process(group, "c").custodian._custody[0].careful == 2


def test_what_is_written_fits_beside_an_offset() -> None:
    """The broker's offset.metadata.max.bytes is 4096."""
    process = Process({}, "0123abcd").claims()
    process.custodian._custody[0].deaths = dict.fromkeys(range(100), DEATHS)
    process.takes_in_hand(process.begins(0, jobs=100), 99)
    _, note = process.group[0]
    assert len(note) < 1500
    assert read_note(note) is not None
