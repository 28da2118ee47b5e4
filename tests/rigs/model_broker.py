"""What would a Kafka broker keep of all this? Logs, transactions, a group and its offsets, as plain Python.

It is as lenient as the real one: it fences by producer epoch and generation, but takes offsets of a foreign partition
from a member with fresh metadata and any offset from generation -1, and lets a request that comes late hit whatever
transaction the same epoch has open by then. `violations` lists what must never be visible to a reader.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import msgspec

Kind = Literal["plain", "killer", "large", "bad"]

REASONS: dict[Kind, str | None] = {
    "plain": None,
    "killer": "process_killed",
    "large": "result_too_large",
    "bad": "schema_invalid",
}
TRANSACTION_TIMEOUT = 12.0
DEATHS = 3  # unclean ends with a job in hand, from which on it may be set aside


class Asked(NamedTuple):
    """A job as it was published: its place in its record and what is to become of it."""

    offset: int
    job: int
    kind: Kind


class Outcome(NamedTuple):
    """What a record of an output topic says."""

    partition: int
    offset: int
    job: int
    reason: str | None


class Stand(NamedTuple):
    """A committed position of the group."""

    offset: int
    note: str


class Refused(Exception):
    """The broker's answer to a request that it does not take; `code` is the name of a KafkaError."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(eq=False)
class Transaction:
    """One transaction; `foreign` are partitions that were not its producer's when it sent their offsets."""

    begun_at: float
    state: Literal["open", "committed", "aborted"] = "open"
    offsets: dict[int, Stand] = field(default_factory=dict)
    foreign: set[int] = field(default_factory=set)


@dataclass
class Producer:
    """What the coordinator knows of one transactional id."""

    epoch: int = 0
    open: Transaction | None = None
    ended: tuple[int, bool] | None = None  # epoch and outcome of the last one


class Broker:
    """`clock()` tells the seconds. Partitions are numbers, the output topics have `outputs` of them each."""

    def __init__(self, clock: Callable[[], float], *, partitions: int, outputs: int, protocol: str) -> None:
        self.clock = clock
        self.partitions = partitions
        self.outputs = outputs
        self.logs: list[list[bytes | None]] = [[] for _ in range(partitions)]  # None: a marker, an offset of no record
        self.asked: list[list[Asked]] = [[] for _ in range(partitions)]
        self.topics: dict[tuple[str, int], list[tuple[Transaction, Outcome]]] = {}
        self.producers: dict[str, Producer] = {}
        self.late: list[Callable[[], None]] = []  # requests that are still on their way
        self.committed: dict[int, Stand] = {}
        self._tenures: dict[int, int] = {}  # which owner of the partition committed that, counted
        self.group = Group(self, protocol)
        self.violations: list[str] = []
        self.history: list[str] = []  # for the person who must understand a violation
        self.delivered: Counter[tuple[int, int, int]] = Counter()
        self.ends_in_hand: Counter[tuple[int, int, int]] = Counter()

    # --- the jobs topic -------------------------------------------------------------------------------------------

    def publish(self, partition: int, value: bytes, kinds: Sequence[Kind]) -> None:
        offset = len(self.logs[partition])
        self.logs[partition].append(value)
        self.asked[partition] += [Asked(offset, index, kind) for index, kind in enumerate(kinds)]

    def publish_marker(self, partition: int) -> None:
        self.logs[partition].append(None)

    # --- transactions ---------------------------------------------------------------------------------------------

    def init(self, name: str) -> int:
        producer = self.producers.setdefault(name, Producer())
        if producer.open is not None:
            self._end(producer, commits=False)
        producer.epoch += 1
        producer.ended = None
        return producer.epoch

    def append(self, name: str, epoch: int, topic: str, partition: int, outcome: Outcome | None) -> None:
        """None: the partition becomes part of the transaction, the record itself is not taken."""
        transaction = self._transaction(name, epoch)
        if outcome is not None:
            self.topics.setdefault((topic, partition), []).append((transaction, outcome))

    def send_offsets(self, name: str, epoch: int, offsets: dict[int, Stand], member: str, generation: int) -> None:
        transaction = self._transaction(name, epoch)
        self.group.check(member, generation, offsets)
        transaction.offsets |= offsets
        transaction.foreign |= {number for number in offsets if self.group.owners.get(number) != member}

    def end(self, name: str, epoch: int, *, commits: bool) -> None:
        producer = self._producer(name, epoch)
        if producer.open is not None:
            self._end(producer, commits=commits)
        elif producer.ended != (epoch, commits):
            raise Refused("INVALID_TXN_STATE")

    def time_out(self) -> None:
        """End transactions that are too old; their producers are fenced."""
        for producer in self.producers.values():
            if producer.open is not None and self.clock() - producer.open.begun_at > TRANSACTION_TIMEOUT:
                self._end(producer, commits=False)
                producer.epoch += 1

    def _producer(self, name: str, epoch: int) -> Producer:
        self.time_out()
        producer = self.producers[name]
        if producer.epoch != epoch:
            raise Refused("_FENCED")
        return producer

    def _transaction(self, name: str, epoch: int) -> Transaction:
        producer = self._producer(name, epoch)
        if producer.open is None:
            producer.open = Transaction(self.clock())
        return producer.open

    def _end(self, producer: Producer, *, commits: bool) -> None:
        transaction, producer.open = producer.open, None
        producer.ended = (producer.epoch, commits)
        if transaction is None:
            return
        transaction.state = "committed" if commits else "aborted"
        if commits:
            self.commit(transaction.offsets)
            self._judge(transaction)

    # --- the group's offsets --------------------------------------------------------------------------------------

    def commit(self, offsets: dict[int, Stand]) -> None:
        for partition, stand in offsets.items():
            before = self.committed.get(partition)
            if before is not None and stand.offset < before.offset:
                self.violations.append(f"partition {partition} went back from {before.offset} to {stand.offset}")
            self.committed[partition] = stand
            self._tenures[partition] = self.group.tenures[partition]
            self.history.append(f"{self.clock():.2f} partition {partition} stands at {stand.offset}: {stand.note}")
            mark = self.hand(partition)
            if mark is not None and mark[0] != self.group.processes.get(
                partition
            ):  # it ended while this was on its way
                self.ends_in_hand[partition, mark[1], mark[2]] += 1

    def standing(self, partitions: Sequence[int]) -> dict[int, Stand | None]:
        """Stable ones only."""
        self.time_out()
        unstable = {number for producer in self.producers.values() if producer.open for number in producer.open.offsets}
        return {number: self.committed.get(number) for number in partitions if number not in unstable}

    # --- what a reader may never see ------------------------------------------------------------------------------

    def _judge(self, transaction: Transaction) -> None:
        if transaction.foreign:
            self.violations.append(f"offsets of foreign partitions {sorted(transaction.foreign)} were committed")
        for records in self.topics.values():
            for one in (outcome for by, outcome in records if by is transaction):
                self._judge_outcome(one)
        for partition in range(self.partitions):
            self._judge_position(partition)
        self._judge_marks()

    def _judge_outcome(self, one: Outcome) -> None:
        place = (one.partition, one.offset, one.job)
        kinds = {(asked.offset, asked.job): asked.kind for asked in self.asked[one.partition]}
        self.delivered[place] += 1
        if self.delivered[place] > 1:
            self.violations.append(f"{one} is there {self.delivered[place]} times")
        if place[1:] not in kinds:
            self.violations.append(f"{one} is the outcome of no job")
        elif one.reason == "process_killed" != REASONS[kinds[place[1:]]]:
            if self.ends_in_hand[place] < DEATHS:
                self.violations.append(f"{one} is innocent: {self.ends_in_hand[place]} processes ended with it in hand")
        elif one.reason != REASONS[kinds[place[1:]]]:
            self.violations.append(f"{one} was {kinds[place[1:]]}")

    def _judge_position(self, partition: int) -> None:
        """Below the committed offset every job has its outcome, from there on none has."""
        offset = self.committed[partition].offset if partition in self.committed else 0
        for asked in self.asked[partition]:
            is_delivered = self.delivered[partition, asked.offset, asked.job] > 0
            if is_delivered != (asked.offset < offset):
                what = "was delivered" if is_delivered else "has no outcome"
                self.violations.append(f"partition {partition} stands at {offset}, but {asked} {what}")

    def _judge_marks(self) -> None:
        """What a process was evicted from, and has again, still bears its old mark until it claims it anew."""
        owned = {number: by for number, by in self.group.processes.items() if by is not None}
        marks = {number: mark[0] for number in owned if (mark := self.hand(number)) is not None}
        new = [number for number in marks if self._tenures.get(number) == self.group.tenures[number]]
        counts = Counter(marks[number] for number in new if marks[number] == owned[number])
        self.violations += [f"{by} has {count} jobs in hand" for by, count in counts.items() if count > 1]

    def hand(self, partition: int) -> tuple[str, int, int] | None:
        """Whose job stands in hand there: process, offset, index."""
        stand = self.committed.get(partition)
        note = msgspec.json.decode(stand.note) if stand and stand.note else {}
        if stand is None or note.get("hand") is None or note.get("released"):
            return None
        return note["by"], stand.offset, note["hand"]

    def read(self, topic: str, partition: int) -> list[Outcome]:
        """What a read_committed reader sees: up to the first open transaction, without aborted ones."""
        seen = []
        for transaction, outcome in self.topics.get((topic, partition), []):
            if transaction.state == "open":
                break
            if transaction.state == "committed":
                seen.append(outcome)
        return seen


class Group:
    """The group's coordinator, cooperative: a partition is free when its owner has given it back or is gone."""

    def __init__(self, broker: Broker, protocol: str) -> None:
        self._broker = broker
        self._is_classic = protocol == "classic"
        self.generation = 1
        self.members: dict[str, str] = {}  # member → process
        self.owners: dict[int, str] = {}
        self.target: dict[int, str] = {}
        self.turned = 0
        self.tenures: Counter[int] = Counter()

    @property
    def processes(self) -> dict[int, str | None]:
        return {number: self.members.get(member) for number, member in self.owners.items()}

    def join(self, member: str, process: str) -> None:
        self.members[member] = process
        self.rebalance()

    def leave(self, member: str) -> None:
        """By its own will, or for the coordinator has not heard of it for too long."""
        if member not in self.members:
            return
        for partition in [number for number, owner in self.owners.items() if owner == member]:
            self.free(partition)
        del self.members[member]
        self.rebalance()

    def rebalance(self, *, by: int = 0) -> None:
        """Share out anew; `by` turns the order, so that partitions change hands."""
        self.turned += by
        self.generation += 1
        members = list(self.members)
        numbers = range(self._broker.partitions)
        self.target = {number: members[(number + self.turned) % len(members)] for number in numbers if members}

    def free(self, partition: int) -> None:
        mark = self._broker.hand(partition)
        if mark is not None and mark[0] == self.processes[partition]:
            self._broker.ends_in_hand[partition, mark[1], mark[2]] += 1
        self._broker.history.append(
            f"{self._broker.clock():.2f} partition {partition} left {self.processes[partition]}"
        )
        del self.owners[partition]

    def to_give_back(self, member: str) -> list[int]:
        return [number for number, owner in self.owners.items() if owner == member != self.target.get(number)]

    def to_take(self, member: str) -> list[int]:
        return [number for number, owner in self.target.items() if owner == member and number not in self.owners]

    def take(self, partition: int, member: str) -> None:
        self.owners[partition] = member
        self.tenures[partition] += 1

    def check(self, member: str, generation: int, offsets: dict[int, Stand], *, is_transactional: bool = True) -> None:
        """What the broker fences, and it is not all that it should."""
        if generation < 0 and is_transactional:
            return
        if member not in self.members:
            raise Refused("UNKNOWN_MEMBER_ID")
        are_own = all(self.owners.get(number) == member for number in offsets)
        if generation != self.generation and (self._is_classic or not are_own):
            raise Refused("ILLEGAL_GENERATION")
