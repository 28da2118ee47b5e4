"""What do librdkafka's clients do for the program, with the model broker behind them?

The surface that consumer/kafka uses and no more. Every call that would go to the broker parks its fiber first, where it
is told its `Fate`; calls that change something park once more behind their effect, so that a process can end on either
side of it.
"""

import json
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from consumer.errors import Unavailable
from consumer.kafka.topics import Committed
from tests.rigs.model_broker import Broker, Outcome, Refused, Stand

ABORTABLE = frozenset({"ILLEGAL_GENERATION", "UNKNOWN_MEMBER_ID"})


class Fate(Enum):
    """What becomes of one call."""

    GO = "it works"
    TIMED_OUT = "nothing happens, no answer"
    ANSWER_LOST = "it happens, no answer"
    LATE = "no answer, and it happens at some later time"
    RETRIED_INSIDE = "it works at the second try of the client, the first request is still on its way"
    RETRIABLE = "refused for now"
    ABORTABLE = "refused, the transaction must be aborted"
    ABORTABLE_AFTER = "it happens, and the answer says that the transaction must be aborted"
    FATAL = "refused, the producer is of no more use"
    FATAL_AFTER = "it happens, and then the producer is of no more use"


ERRORS = {
    Fate.TIMED_OUT: KafkaError(KafkaError._TIMED_OUT, "no answer", retriable=True),
    Fate.RETRIABLE: KafkaError(KafkaError.COORDINATOR_LOAD_IN_PROGRESS, "later", retriable=True),
    Fate.ABORTABLE: KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "not now", txn_requires_abort=True),
    Fate.FATAL: KafkaError(KafkaError._FATAL, "broken", fatal=True),
}


class Machine(Protocol):
    """The process that a client belongs to."""

    name: str
    broker: Broker

    def park(self, point: str) -> Fate: ...
    def check(self) -> None:
        """Raises when the process is no more."""

    def wait(self, seconds: float) -> None: ...


@dataclass(frozen=True)
class Message:
    """A record, as the consumer hands it over."""

    log: str
    number: int
    place: int
    content: bytes

    def error(self) -> None:
        return None

    def topic(self) -> str:
        return self.log

    def partition(self) -> int:
        return self.number

    def offset(self) -> int:
        return self.place

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_700_000_000_000

    def key(self) -> None:
        return None

    def value(self) -> bytes:
        return self.content

    def headers(self) -> None:
        return None


class ModelProducer:
    """A transactional producer. Its records lie with the client until the offsets are sent or the commit begins."""

    def __init__(self, process: Machine, properties: dict[str, Any]) -> None:
        self._process = process
        self._broker = process.broker
        self._name = properties["transactional.id"]
        self._on_statistics: Callable[[str], None] = properties["stats_cb"]
        self._disconnects = 0
        self._epoch = 0
        self._state = "new"
        self._has_asked = False  # whether the broker knows of the transaction
        self._error: KafkaError | None = None  # what stands in the way of this transaction, or of all
        self._queue: list[tuple[str, int, Outcome, bool, Callable[..., None]]] = []
        self._reports: deque[Callable[[], None]] = deque()

    # --- the calls of the program ---------------------------------------------------------------------------------

    def init_transactions(self, timeout: float) -> None:
        def init() -> None:
            self._epoch = self._broker.init(self._name)
            self._state = "ready"

        self._call("init", timeout, init)

    def begin_transaction(self) -> None:
        self._process.park("begin")
        self._require("ready")
        self._state, self._has_asked = "open", False

    def produce(
        self, topic: str, *, value: bytes, key: None, partition: int, headers: object, on_delivery: Callable[..., None]
    ) -> None:
        self._process.park("produce")
        if self._error is None:
            self._require("open")
        outcome = Outcome(*json.loads(value))
        self._queue.append((topic, partition, outcome, outcome.reason == "large", on_delivery))

    def send_offsets_to_transaction(self, positions: list[TopicPartition], metadata: bytes, timeout: float) -> None:
        self._require("open")
        generation, member = generation_and_member(metadata)
        offsets = {one.partition: Stand(one.offset, one.metadata or "") for one in positions}
        epoch, self._has_asked = self._epoch, True

        def send() -> None:
            self._broker.send_offsets(self._name, epoch, offsets, member, generation)

        self._call("offsets", timeout, send, first=self._flush)

    def commit_transaction(self, timeout: float) -> None:
        self._require("open", "committing")
        self._end("commit", timeout, commits=True)

    def abort_transaction(self, timeout: float) -> None:
        self._require("open", "aborting")
        self._error = None
        self._queue.clear()
        if self._has_asked:
            self._end("abort", timeout, commits=False)
        self._state = "ready"

    def poll(self, timeout: float) -> int:
        self._process.check()
        while self._reports:
            self._reports.popleft()()
        if timeout:  # statistics come now and then
            self._on_statistics(json.dumps({"brokers": {"1": {"disconnects": self._disconnects}}}))
        if self._error is not None and self._error.fatal():
            raise KafkaException(self._error)
        return 0

    def purge(self) -> None:
        self._process.check()
        self._queue.clear()

    # --- what happens ---------------------------------------------------------------------------------------------

    def _end(self, point: str, timeout: float, *, commits: bool) -> None:
        epoch = self._epoch
        self._state = "committing" if commits else "aborting"

        def end() -> None:
            self._broker.end(self._name, epoch, commits=commits)

        try:
            self._call(point, timeout, end, first=self._flush if commits else None)
        except KafkaException as error:
            if error.args[0].txn_requires_abort():
                self._state = "open"
            raise
        self._state = "ready"

    def _call(
        self, point: str, timeout: float, effect: Callable[[], None], *, first: Callable[[], None] | None = None
    ) -> None:
        self._process.check()
        if first is not None:
            first()
        fate = self._process.park(point)
        self._raise_error()
        if fate in {Fate.LATE, Fate.RETRIED_INSIDE}:
            self._broker.late.append(effect)
        if fate in {Fate.GO, Fate.ANSWER_LOST, Fate.ABORTABLE_AFTER, Fate.FATAL_AFTER, Fate.RETRIED_INSIDE}:
            try:
                effect()
            except Refused as refusal:
                self._fail(_error_of(refusal))
            self._process.park(f"{point} done")
        if fate is Fate.RETRIED_INSIDE:
            self._disconnects += 1
        elif fate in {Fate.TIMED_OUT, Fate.ANSWER_LOST, Fate.LATE}:
            self._process.wait(timeout)
            raise KafkaException(ERRORS[Fate.TIMED_OUT])
        elif fate is Fate.RETRIABLE:
            raise KafkaException(ERRORS[fate])
        elif fate in {Fate.ABORTABLE, Fate.ABORTABLE_AFTER} and point != "init":
            self._fail(ERRORS[Fate.ABORTABLE])
        elif fate is not Fate.GO:
            self._fail(ERRORS[Fate.FATAL])

    def _flush(self) -> None:
        """Send what was produced. Where one record is refused all of its request are."""
        queue, self._queue = self._queue, []
        refused = {record[:2] for record in queue if record[3]}
        self._has_asked = self._has_asked or bool(queue)
        for topic, partition, outcome, _, report in queue:
            error = None
            is_refused = (topic, partition) in refused
            try:
                self._broker.append(self._name, self._epoch, topic, partition, None if is_refused else outcome)
            except Refused as refusal:
                error = _error_of(refusal)
            error = error or (KafkaError(KafkaError.MSG_SIZE_TOO_LARGE) if is_refused else None)
            if error is not None:
                is_fatal = error.fatal()
                self._error = self._error or (
                    error if is_fatal else KafkaError(error.code(), "refused", txn_requires_abort=True)
                )
            report(error, None)

    def _require(self, *states: str) -> None:
        self._process.check()
        if self._error is not None and self._error.fatal():
            raise KafkaException(self._error)
        if self._state not in states:
            raise KafkaException(KafkaError(KafkaError._STATE, f"{self._state}, not {' or '.join(states)}"))

    def _raise_error(self) -> None:
        if self._error is not None:
            raise KafkaException(self._error)

    def _fail(self, error: KafkaError) -> None:
        if error.fatal() or error.txn_requires_abort():
            self._error = error
        raise KafkaException(error)


def _error_of(refusal: Refused) -> KafkaError:
    is_abortable = refusal.code in ABORTABLE
    return KafkaError(getattr(KafkaError, refusal.code), "", fatal=not is_abortable, txn_requires_abort=is_abortable)


class ModelConsumer:
    """A member of the group. It hears of the group where it polls, as librdkafka's callbacks do; `hear` is what its
    own thread may learn before that."""

    def __init__(self, process: Machine, properties: dict[str, Any]) -> None:
        self._process = process
        self._broker = process.broker
        self._group = process.broker.group
        self._on_commit: Callable[[KafkaError | None, list[TopicPartition]], None] = properties["on_commit"]
        self._positions: dict[int, int] = {}
        self._paused: set[int] = set()
        self._member = ""
        self._joined = 0
        self._generation = -1
        self._answers: deque[Callable[[], None]] = deque()

    # --- membership -----------------------------------------------------------------------------------------------

    def subscribe(self, topics: list[str], **callbacks: Callable[..., None]) -> None:
        (self._topic,) = topics
        self._callbacks = callbacks

    def unsubscribe(self) -> None:
        self._group.leave(self._member)

    def close(self) -> None:
        self._process.park("leave")
        if self._positions:
            self._tell("on_revoke" if self._member in self._group.members else "on_lost", list(self._positions))
        self._process.park("leave done")
        self._group.leave(self._member)

    def hear(self) -> None:
        is_member = self._member in self._group.members
        self._generation = self._group.generation if is_member else -1

    def consumer_group_metadata(self) -> bytes:
        self._process.check()
        return metadata_of(self._generation, self._member)

    def _follow(self) -> None:
        """Do what the group asks for."""
        if self._member not in self._group.members:
            if self._positions:
                self._tell("on_lost", list(self._positions))
            self._joined += 1
            self._member = f"{self._process.name}-{self._joined}"
            self._group.join(self._member, self._process.name)
        self.hear()
        if given_back := self._group.to_give_back(self._member):
            self._tell("on_revoke", given_back)
            self._process.check()
            still_ours = [number for number in given_back if self._group.owners.get(number) == self._member]
            for partition in still_ours:
                self._group.free(partition)
            if still_ours:
                self._group.generation += 1
        if taken := self._group.to_take(self._member):
            for partition in taken:
                self._group.take(partition, self._member)
            self._tell("on_assign", taken)
        self.hear()

    def _tell(self, callback: str, partitions: list[int]) -> None:
        self._callbacks[callback](self, [TopicPartition(self._topic, number) for number in partitions])

    # --- records --------------------------------------------------------------------------------------------------

    def consume(self, count: int, timeout: float) -> list[Message]:
        if timeout or count == 1:
            self._process.park("poll" if timeout else "pump")
            while self._answers:
                self._answers.popleft()()
            self._follow()
        messages: list[Message] = []
        for partition in sorted(self._positions.keys() - self._paused):
            log = self._broker.logs[partition]
            while self._positions[partition] < len(log) and len(messages) < count:
                offset = self._positions[partition]
                self._positions[partition] = offset + 1
                content = log[offset]
                if content is not None:
                    messages.append(Message(self._topic, partition, offset, content))
        return messages

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        self._positions |= {one.partition: one.offset for one in partitions}
        self._paused -= {one.partition for one in partitions}

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        self._process.check()
        for one in partitions:
            del self._positions[one.partition]

    def seek(self, position: TopicPartition) -> None:
        self._positions[position.partition] = position.offset

    def pause(self, partitions: list[TopicPartition]) -> None:
        self._paused |= {one.partition for one in partitions}

    def resume(self, partitions: list[TopicPartition]) -> None:
        self._paused -= {one.partition for one in partitions}

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> None:
        """Only what a partition without a position is given; a later poll tells what became of it."""
        stands = {one.partition: Stand(one.offset, one.metadata or "") for one in offsets}
        self._process.park("start")
        error: KafkaError | None = None
        try:
            self._group.check(self._member, self._generation, stands, is_transactional=False)
            self._broker.commit(stands)
        except Refused as refusal:
            error = _error_of(refusal)
        self._answers.append(lambda: self._on_commit(error, offsets))


class ModelLogOffsets:
    """What kafka/topics.py asks over connections of its own."""

    def __init__(self, process: Machine) -> None:
        self._process = process
        self._broker = process.broker

    def ends(self, *, timeout: float) -> dict[int, int]:
        return {partition: len(log) for partition, log in enumerate(self._broker.logs)}

    def __call__(self, partitions: list[int], end: str, *, timeout: float = 1.0) -> dict[int, int]:
        return dict.fromkeys(partitions, 0)

    def committed(self, partitions: list[int], *, timeout: float) -> dict[int, int | None]:
        return {number: stand and stand.offset for number, stand in self.standing(partitions, timeout=timeout).items()}

    def standing(self, partitions: Sequence[int], *, timeout: float) -> dict[int, Committed | None]:
        if self._process.park("standing") is not Fate.GO:
            self._process.wait(timeout)
            raise Unavailable("broker", "no answer")
        answers = self._broker.standing(partitions)
        return {number: Committed(*stand) if stand else None for number, stand in answers.items()}


def metadata_of(generation: int, member: str) -> bytes:
    return b"CGMDv2:" + struct.pack("<i", generation) + b"group\0" + member.encode() + b"\0"


def generation_and_member(metadata: bytes) -> tuple[int, str]:
    (generation,) = struct.unpack_from("<i", metadata, 7)
    return generation, metadata[11:].split(b"\0")[1].decode()
