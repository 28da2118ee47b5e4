"""Where records come from: membership of the group, ownership and start positions of its partitions.

Everything here runs in the one thread that owns the consumer. Rebalance callbacks run inside `poll` and do no I/O:
they note what changed and tell the listener.
"""

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from consumer.errors import CheckFailed, Fatal, SettingsError, Unavailable
from consumer.kafka.capabilities import NEW_GROUP_PROTOCOL, can, request_versions
from consumer.kafka.client import (
    MISSING_ACL,
    REFUSED_CREDENTIALS,
    REFUSED_MEMBERSHIP,
    consumer_properties,
    describe,
    make,
    missing_right,
)
from consumer.kafka.generation import generation_of
from consumer.kafka.group import UNKNOWN, Group, GroupReader
from consumer.kafka.headers import headers_of
from consumer.kafka.missed import MissedPartitions
from consumer.kafka.topics import Committed, LogOffsets
from consumer.messages import Record
from consumer.settings import Settings

logger = logging.getLogger(__name__)

POLL = 0.05
POSITION_TIMEOUT = 0.5
ENDS_EVERY = 60.0
REJOIN_AFTER = 30.0
UNASKED_AFTER = 15_000  # milliseconds
LOOKS_WITHOUT_BROKER = 2  # one alone can fall between a session that ended with its token and the next
VERSIONS_EVERY = 10.0
VERSIONS_TIMEOUT = 1.0

Offsets = frozenset[tuple[int, int]]  # pairs of partition and next offset


class Listener(Protocol):
    """Who must know what is ours. Called inside `poll`: no calls back into the source but `group`-reading ones."""

    def assigned(self, partitions: list[int]) -> None: ...

    def revoked(self, partitions: list[int]) -> None:
        """Still ours until this returns."""

    def lost(self, partitions: list[int]) -> None:
        """Somebody else's already."""

    def placed(self, partition: int, offset: int, note: str) -> None:
        """It is known where the group left it, and what the owner before wrote beside that. Called by `poll`, before
        the partition's first record."""

    def note(self, partition: int, offset: int) -> str:
        """What to write beside this offset when it is committed."""


class Source:
    """The consuming side of Kafka; open it last, when everything else is warm."""

    def __init__(self, settings: Settings, listener: Listener, *, log_offsets: LogOffsets) -> None:
        """`log_offsets` asks over a connection of its own: on the consumer's the answer would wait behind a fetch."""
        self._log_offsets = log_offsets
        self._settings = settings
        self._topic = settings.topics.jobs
        self._start = settings.kafka.start
        self._listener = listener
        self._properties = consumer_properties(settings)
        self._consumer: Consumer | None = None
        self._owned: set[int] = set()
        self._unplaced: set[int] = set()
        self._paused: set[int] = set()
        self._positions: dict[int, int] = {}  # the next offset to come
        self._ends: dict[int, int] = {}  # where the log ended, for partitions whose end was reached (markers counted)
        self._high: dict[int, int] = {}
        self._log_ends: dict[int, int] = {}  # of all partitions, a minute old at most
        self._looked_at_ends_at = float("-inf")
        self._callback_error: Exception | None = None
        self._broker_trouble: str | None = None
        self._broker_error: str | None = None  # the last one since a broker was up
        self._looks_without_broker = 0
        self._commit_answers: dict[Offsets, tuple[KafkaError | None] | None] = {}
        self._starting: Offsets = frozenset()  # first positions given to the group, while it has not answered
        self._has_rebalanced = False
        self._has_joined = False
        self._is_unasked = False
        self._asked_versions_at = float("-inf")
        self._protocol = settings.kafka.group_protocol
        self._alone_since: float | None = None
        self._missed = MissedPartitions(self._ask_group)
        self._group_reader: GroupReader | None = None

    # --- life -----------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Join the group. Raises SettingsError for properties that librdkafka does not accept."""
        self._look_at_ends()
        self._starting = frozenset()  # another consumer's answer would not come any more
        self._missed = MissedPartitions(self._ask_group)
        hooks = {"error_cb": self._on_error, "stats_cb": self._on_statistics, "on_commit": self._on_commit}
        self._consumer = make(Consumer, self._properties | hooks)
        self._consumer.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def close(self) -> None:
        """Leave the group; the listener hears of the revocation on the way."""
        if self._consumer is not None:
            if not self._owned:  # close() alone does not tell the group that a member without partitions leaves
                self._consumer.unsubscribe()
            self._consumer.close()
            self._consumer = None
        self._raise_callback_error()

    @property
    def consumer(self) -> Consumer:
        if self._consumer is None:
            raise RuntimeError("the source is not open")
        return self._consumer

    # --- records --------------------------------------------------------------------------------------------------

    def poll(self, count: int) -> list[Record]:
        """Up to about `count` records; waits a moment for the first one. Rebalance callbacks run in here."""
        self._rejoin()
        self._refuse_old_broker()
        # consume(n, t) alone would wait the whole t unless n records come.
        messages = self.consumer.consume(1, POLL)
        if messages and count > 1:
            messages += self.consumer.consume(count - 1, 0)
        self._raise_callback_error()
        records = self._records(messages)  # before _place: what came from a place of waiting is none
        self._pause_again()
        self._place()
        self._look_at_ends()
        return records

    def pump(self) -> list[Record]:
        """Keep the membership while a delivery call is repeated: with everything paused, hardly ever a record."""
        self.pause(self._owned)
        messages = self.consumer.consume(1, 0)
        self._raise_callback_error()
        return self._records(messages)

    def _rejoin(self) -> None:
        """With another consumer, where librdkafka does not come back by itself."""
        reason = self._why_alone() or self._what_was_missed()
        if reason is not None:
            logger.warning("joining anew with another consumer", extra={"reason": reason})
            self.close()
            self.open()

    def _why_alone(self) -> str | None:
        """After a stall librdkafka can lose its last broker for good (seen: outside the group, states INIT for ever,
        while the broker was well): a new consumer finds it."""
        if self._broker_trouble is None or self._owned or self.is_member:
            self._alone_since = None
            return None
        self._alone_since = self._alone_since or time.monotonic()
        if time.monotonic() - self._alone_since < REJOIN_AFTER:
            return None
        self._alone_since = None
        return self._broker_trouble

    def _what_was_missed(self) -> str | None:
        """See kafka/missed.py; the classic protocol cannot lose an assignment."""
        if self._protocol != "consumer" or not self._missed.is_due:
            return None
        missed = self._missed.find(self.consumer.memberid() or "", self._owned)
        return f"the group gives us partitions {missed}, of which librdkafka has not heard" if missed else None

    def _ask_group(self) -> Group:
        """Without waiting: the question stays asked."""
        self._group_reader = self._group_reader or GroupReader(self._settings)
        try:
            return self._group_reader.read(timeout=0)
        except SettingsError:  # who may not ask is no worse off than before
            return UNKNOWN

    def _refuse_old_broker(self) -> None:
        """librdkafka says nothing when brokers do not know KIP-848: it has its coordinator and never asks to join. It
        looks the same while the first answer does not come, so the brokers are asked what they know."""
        if not self._is_unasked or time.monotonic() - self._asked_versions_at < VERSIONS_EVERY:
            return
        self._asked_versions_at = time.monotonic()
        with contextlib.suppress(Unavailable):
            versions = request_versions(self._settings, timeout=VERSIONS_TIMEOUT)
            if versions and not can(versions, NEW_GROUP_PROTOCOL):
                raise SettingsError(
                    "kafka.group_protocol: the brokers do not offer `consumer` (KIP-848, Kafka 4.0 or newer): "
                    "use classic"
                )

    def _pause_again(self) -> None:
        """A rebalance may lose the pause of partitions that we keep (librdkafka#1802)."""
        if self._has_rebalanced and self._paused:
            self.consumer.pause([TopicPartition(self._topic, partition) for partition in self._paused])
        self._has_rebalanced = False

    def _records(self, messages: Iterable[KafkaMessage]) -> list[Record]:
        records = []
        for message in messages:
            if (error := message.error()) is not None:
                self._judge(error, message)
            elif message.partition() in self._owned - self._unplaced:
                record = _record(message)
                if record.offset >= self._positions[record.partition]:  # a position only ever moves forward
                    self._positions[record.partition] = record.offset + 1
                    records.append(record)
        return records

    def _judge(self, error: KafkaError, message: KafkaMessage) -> None:
        partition = message.partition()
        match error.code():
            case KafkaError._PARTITION_EOF:
                if partition in self._owned - self._unplaced:
                    self._ends[_number(partition)] = _number(message.offset())
            case KafkaError._AUTO_OFFSET_RESET if self._has_been_at(message):
                raise CheckFailed(
                    f"partition {partition} of {self._topic}: the committed position is not in the log any more "
                    f"({error.str()}); set the group's offset by hand, a reset would lose or repeat jobs silently"
                )
            case KafkaError._AUTO_OFFSET_RESET if partition in self._unplaced:
                raise Fatal(
                    f"partition {partition} of {self._topic} cannot be started: offset {message.offset()}, where its "
                    f"log ended a minute ago at most, is not in the log any more; a restart starts it"
                )
            case KafkaError._AUTO_OFFSET_RESET:
                pass  # a late word of the time before it was placed
            case code if (code in MISSING_ACL or code in REFUSED_CREDENTIALS) and not self.is_member:
                raise SettingsError(f"kafka: {missing_right(error, group=self._properties['group.id'])}")
            case code if code in REFUSED_MEMBERSHIP and not self.is_member:
                raise SettingsError(f"{REFUSED_MEMBERSHIP[code]}: the group does not take us: {describe(error)}")
            case code if error.fatal() or code == KafkaError._FATAL:  # in a message the flag is not set
                raise Fatal(f"the Kafka consumer cannot go on: {describe(error)}")
            case _:
                logger.warning("kafka consumer", extra={"error": describe(error), "partition": partition})

    def _has_been_at(self, message: KafkaMessage) -> bool:
        """Not if the partition was only waiting at that offset for its own one."""
        position = self._positions.get(_number(message.partition()))
        return position is not None and _number(message.offset()) >= position

    # --- ownership ------------------------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._guarded(self._assign, consumer, partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._guarded(self._unassign, consumer, partitions, self._listener.revoked)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._guarded(self._unassign, consumer, partitions, self._listener.lost)

    def _guarded(self, callback: Callable[..., None], *arguments: Any) -> None:
        """An error raised in a callback would surface from consume() with the assignment applied all the same."""
        try:
            callback(*arguments)
        except Exception as error:  # noqa: BLE001  # raised again by the poll that we are inside of
            self._callback_error = self._callback_error or error

    def _raise_callback_error(self) -> None:
        if self._callback_error is not None:
            error, self._callback_error = self._callback_error, None
            raise error

    def _assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = [partition.partition for partition in partitions]
        # Paused at any position: where they start is asked for outside of the callback, see _place. Not at a logical
        # offset such as the beginning, whose late look-up would undo the seek to the real one; and at one that is in
        # the log, for a fetch may be out before the pause, and a partition whose fetch met "out of range" (offset 0
        # under any retention) can never be seeked again.
        consumer.incremental_assign(
            [TopicPartition(self._topic, number, self._log_ends.get(number, 0)) for number in numbers]
        )
        consumer.pause([TopicPartition(self._topic, number) for number in numbers])
        self._has_rebalanced = True
        self._owned.update(numbers)
        self._unplaced.update(numbers)
        self._listener.assigned(numbers)

    def _unassign(
        self, consumer: Consumer, partitions: list[TopicPartition], tell: Callable[[list[int]], None]
    ) -> None:
        numbers = [partition.partition for partition in partitions]
        try:
            tell(numbers)
        finally:
            self._has_rebalanced = True
            for known in (self._owned, self._unplaced, self._paused):
                known.difference_update(numbers)
            for known_offsets in (self._positions, self._ends, self._high):
                for number in numbers:
                    known_offsets.pop(number, None)
            consumer.incremental_unassign([TopicPartition(self._topic, number) for number in numbers])

    def _look_at_ends(self) -> None:
        if time.monotonic() - self._looked_at_ends_at < ENDS_EVERY:
            return
        self._looked_at_ends_at = time.monotonic()
        with contextlib.suppress(Unavailable):
            self._log_ends = self._log_offsets.ends(timeout=POSITION_TIMEOUT)

    # --- positions ------------------------------------------------------------------------------------------------

    def _place(self) -> None:
        """Put newly assigned partitions where the group left them, or where `kafka.start` says; else next turn.

        After a kill between `send_offsets` and commit the committed offset is unstable until the dead owner's
        transaction ends, so this must not wait and must not hold up the other partitions.
        """
        unplaced = self._unplaced - {partition for partition, _ in self._starting}
        if not unplaced:
            return
        try:
            answers = self._log_offsets.standing(sorted(unplaced), timeout=POSITION_TIMEOUT)
        except Unavailable:
            return
        for partition, left in answers.items():
            if left is not None:
                self._place_at(partition, left)
        self._commit_start([partition for partition, left in answers.items() if left is None])
        if not self._unplaced:
            logger.info("partitions placed", extra={"offsets": dict(sorted(self._positions.items()))})

    def _commit_start(self, partitions: list[int]) -> None:
        """Give the group a position where it has none: until then autoscalers count the whole log as lag, and the
        next owner would look `latest` up anew. Nothing is read from there before a later turn has seen it hold."""
        if not partitions or self._starting:
            return
        with contextlib.suppress(Unavailable):
            offsets = self._log_offsets(partitions, self._start)
            self._starting = frozenset(offsets.items())
            self._send_commit(offsets)

    def _place_at(self, partition: int, left: Committed) -> None:
        try:
            self.consumer.seek(TopicPartition(self._topic, partition, left.offset))
        except KafkaException as error:  # too early, librdkafka has not started the partition yet
            logger.debug("seek", extra={"partition": partition, "error": str(error)})
            return
        self._unplaced.discard(partition)
        self._positions[partition] = left.offset
        self._listener.placed(partition, left.offset, left.note)
        self._paused.discard(partition)
        self.consumer.resume([TopicPartition(self._topic, partition)])

    def committed(self, partitions: list[int]) -> dict[int, int | None]:
        """The group's stable offsets, None where it has none; partitions that give no answer in time are left out."""
        if not partitions:
            return {}
        try:
            return self._log_offsets.committed(partitions, timeout=POSITION_TIMEOUT)
        except Unavailable:
            return {}

    def commit(self, offsets: dict[int, int]) -> None:
        """Send offsets to the group without waiting; `commit_answer` tells what came of it."""
        self._commit_answers = {frozenset(offsets.items()): None}
        self._send_commit(offsets)

    def _send_commit(self, offsets: dict[int, int]) -> None:
        self.consumer.commit(offsets=self.noted(offsets), asynchronous=True)

    def noted(self, offsets: dict[int, int]) -> list[TopicPartition]:
        """What to commit for these offsets: each with the listener's note beside it."""
        note = self._listener.note
        return [
            TopicPartition(self._topic, partition, offset, metadata=note(partition, offset))
            for partition, offset in offsets.items()
        ]

    def commit_answer(self, offsets: dict[int, int]) -> tuple[KafkaError | None] | None:
        """What the `commit` of just these offsets came to: None while unanswered, (None,) when it is done."""
        return self._commit_answers.get(frozenset(offsets.items()))

    def _on_commit(self, error: KafkaError | None, positions: list[TopicPartition]) -> None:
        offsets = frozenset((position.partition, position.offset) for position in positions)
        if offsets == self._starting:
            self._starting = frozenset()
        if offsets in self._commit_answers:
            errors = [error, *(position.error for position in positions)]
            self._commit_answers[offsets] = (next(filter(None, errors), None),)

    # --- flow -----------------------------------------------------------------------------------------------------

    def pause(self, partitions: Iterable[int]) -> None:
        wanted = (set(partitions) & self._owned) - self._unplaced - self._paused
        if wanted:
            self.consumer.pause([TopicPartition(self._topic, partition) for partition in wanted])
            self._paused |= wanted

    def resume(self, partitions: Iterable[int]) -> None:
        wanted = set(partitions) & self._paused & self._owned
        if wanted:
            self.consumer.resume([TopicPartition(self._topic, partition) for partition in wanted])
            self._paused -= wanted

    # --- what is known --------------------------------------------------------------------------------------------

    @property
    def owned(self) -> frozenset[int]:
        return frozenset(self._owned)

    @property
    def topic(self) -> str:
        return self._topic

    def group_metadata(self) -> Any:
        """What the group knows us by just now; its bytes are librdkafka's own encoding, see kafka/generation.py. None
        while there is nothing, as when a member leaves in the midst of a rebalance."""
        try:
            return self.consumer.consumer_group_metadata()
        except RuntimeError:
            return None

    @property
    def is_member(self) -> bool:
        """Whether the group has taken us, be it without a partition (seen: KIP-848 never calls back for none)."""
        if self._consumer is None or (metadata := self.group_metadata()) is None:
            return False
        return generation_of(bytes(metadata)) > 0

    @property
    def broker_trouble(self) -> str | None:
        """Why no broker can be reached just now, or None."""
        return self._broker_trouble

    def position(self, partition: int) -> int | None:
        """The next offset to come, None until it is known. Behind an end that was reached it counts the markers of
        transactions, which are offsets without a record."""
        position = self._positions.get(partition)
        return None if position is None else max(position, self._ends.get(partition, 0))

    def high(self, partition: int) -> int | None:
        """The offset behind the last stable record or marker, as of the last statistics."""
        return self._high.get(partition)

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN or error.code() in REFUSED_CREDENTIALS:
            self._broker_error = describe(error)
        if error.fatal():
            self._callback_error = Fatal(f"the Kafka consumer cannot go on: {describe(error)}")
        logger.debug("kafka client", extra={"error": describe(error)})

    def _on_statistics(self, text: str) -> None:
        statistics = json.loads(text)
        self._note_state(statistics.get("cgrp", {}))
        self._missed.on_statistics(statistics)
        brokers = statistics["brokers"].values()
        known = [f"{broker['nodename']} {broker['state']}" for broker in brokers if broker["nodeid"] >= 0]
        # The coordinator counts too, which is there once more without a number: after restarts all brokers were seen in
        # INIT for minutes, while jobs flowed.
        if any(broker["state"] == "UP" for broker in brokers):
            self._broker_trouble = self._broker_error = None
            self._looks_without_broker = 0
        else:
            self._looks_without_broker += 1
            facts = [*sorted(known), *([self._broker_error] if self._broker_error else [])]
            if facts and self._looks_without_broker >= LOOKS_WITHOUT_BROKER:
                self._broker_trouble = f"no broker is up: {', '.join(facts)}"
        for number, partition in statistics["topics"].get(self._topic, {}).get("partitions", {}).items():
            if int(number) in self._owned and partition["ls_offset"] >= 0:
                self._high[int(number)] = partition["ls_offset"]

    def _note_state(self, group: dict[str, Any]) -> None:
        self._has_joined = self._has_joined or self.is_member
        is_outside = (group.get("state"), group.get("join_state")) == ("up", "init") and not self._has_joined
        self._is_unasked = self._protocol == "consumer" and is_outside and group["stateage"] >= UNASKED_AFTER


def _record(message: KafkaMessage) -> Record:
    _, timestamp = message.timestamp()
    return Record(
        topic=str(message.topic()),
        partition=_number(message.partition()),
        offset=_number(message.offset()),
        timestamp_ms=timestamp,
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=headers_of(message),
    )


def _number(value: int | None) -> int:
    """Records have both; only the client's own errors come without."""
    if value is None:
        raise ValueError("a record without partition or offset")
    return value


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
