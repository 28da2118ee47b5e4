"""Does a consumer that librdkafka has cut off get another one, and what does it take for records of ours?"""

import json
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, Literal, cast

import pytest
from confluent_kafka import KafkaError, Message, TopicPartition

from consumer.demo.ports import free_port
from consumer.errors import CheckFailed, Fatal, SettingsError, Unavailable
from consumer.kafka import source as source_module
from consumer.kafka.missed import MissedPartitions
from consumer.kafka.source import Source
from consumer.kafka.topics import LogOffsets
from consumer.settings import ImageSettings, KafkaSettings, Settings
from tests.rigs.deadline import wait_until


class Nobody:
    """A listener that has nothing to do."""

    def assigned(self, partitions: list[int]) -> None: ...
    def revoked(self, partitions: list[int]) -> None: ...
    def lost(self, partitions: list[int]) -> None: ...
    def placed(self, partition: int, offset: int, note: str) -> None: ...
    def note(self, partition: int, offset: int) -> str:
        return ""


@pytest.fixture
def source() -> Source:
    return source_with()


def source_with(protocol: Literal["classic", "consumer"] = "classic") -> Source:
    kafka = KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}", group_protocol=protocol)
    settings = Settings(kafka=kafka, images=ImageSettings(allowed_buckets=("parts",)))
    return Source(settings, Nobody(), log_offsets=LogOffsets(settings))


def polls_until_another(source: Source) -> None:
    first = source.consumer

    def is_another() -> bool:
        source.poll(1)
        return source.consumer is not first

    wait_until(is_another, within=15, what="another consumer")


@pytest.mark.thorough
def test_a_consumer_that_stays_outside_the_group_without_a_broker_is_replaced(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "REJOIN_AFTER", 0.3)
    source.open()
    polls_until_another(source)
    polls_until_another(source)  # and so is the next one
    source.close()


@pytest.mark.thorough
def test_a_consumer_is_given_time_before_it_is_replaced(source: Source) -> None:
    source.open()
    wait_until(lambda: source.poll(1) == [] and source.broker_trouble is not None, within=15, what="trouble")
    first = source.consumer
    for _ in range(10):
        source.poll(1)
    assert source.consumer is first
    source.close()


@pytest.mark.parametrize(("protocol", "is_replaced"), [("consumer", True), ("classic", False)])
def test_a_consumer_that_has_not_heard_of_partitions_of_its_own_is_replaced(
    protocol: Literal["classic", "consumer"], is_replaced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_with(protocol)
    source.open()
    first = source.consumer
    monkeypatch.setattr(MissedPartitions, "is_due", True)
    monkeypatch.setattr(MissedPartitions, "find", lambda *_: [4, 5] if source.consumer is first else [])
    monkeypatch.setattr(source_module, "POLL", 0)
    source._starting = frozenset({(4, 0)})
    source.poll(1)

    assert (source.consumer is not first) == is_replaced
    assert bool(source._starting) != is_replaced  # what the first one committed is not waited for
    source.close()


# What librdkafka's statistics say of the group, 15 s after a start against Kafka 3.9, which does not offer KIP-848.
UNASKED = {"state": "up", "join_state": "init", "stateage": 15_000}


def statistics(group: dict[str, Any], *brokers: tuple[str, int, str]) -> str:
    entries = [dict(zip(("nodename", "nodeid", "state"), broker, strict=True)) for broker in brokers]
    return json.dumps({"brokers": dict(enumerate(entries)), "topics": {}, "cgrp": group})


@pytest.mark.parametrize(
    ("brokers", "trouble"),
    [
        ([("b:1", 1, "UP"), ("b:2", 2, "INIT")], None),
        ([("b:1", 1, "INIT"), ("b:1", -1, "UP")], None),  # the group's coordinator
        ([("b:2", 2, "DOWN"), ("b:1", 1, "INIT"), ("b:1", -1, "INIT")], "no broker is up: b:1 INIT, b:2 DOWN"),
        ([("b:1", -1, "INIT")], None),  # nothing is known yet
    ],
)
def test_a_broker_that_is_up_is_enough(brokers: list[tuple[str, int, str]], trouble: str | None) -> None:
    source = source_with("classic")
    for _ in range(3):
        source._on_statistics(statistics({}, *brokers))
    assert source.broker_trouble == trouble


def test_a_connection_that_is_made_anew_is_no_trouble() -> None:
    """A broker ends the session of a token with it: readiness would be red for a second each time."""
    source = source_with("classic")
    for _ in range(3):
        source._on_error(KafkaError(KafkaError._AUTHENTICATION, "handshake failed: Broker transport failure"))
        source._on_statistics(statistics({}, ("b:1", 1, "AUTH_HANDSHAKE")))
        assert source.broker_trouble is None
        source._on_statistics(statistics({}, ("b:1", 1, "UP")))


def test_what_a_broker_said_is_told_while_none_is_up() -> None:
    source = source_with("classic")
    source._on_error(KafkaError(KafkaError._AUTHENTICATION, "wrong password"))
    troubles = []
    for state in ("DOWN", "DOWN", "UP", "DOWN", "DOWN"):
        source._on_statistics(statistics({}, ("b:1", 1, state)))
        troubles.append(source.broker_trouble)
    assert troubles == [
        None,
        "no broker is up: b:1 DOWN, _AUTHENTICATION: wrong password",
        None,
        None,
        "no broker is up: b:1 DOWN",
    ]


class Brokers:
    """What they say when they are asked which requests they know; how often they were."""

    def __init__(self, heartbeat: int | None) -> None:
        """`heartbeat`: the highest version of KIP-848's, None while they do not answer."""
        self.heartbeat = heartbeat
        self.asked = 0

    def request_versions(self, _: Settings, *, timeout: float) -> dict[int, int]:
        self.asked += 1
        if self.heartbeat is None:
            raise Unavailable("broker", "versions: timed out")
        return {0: 12, 68: self.heartbeat}


def test_brokers_that_do_not_offer_the_new_group_protocol_end_the_process_by_the_settings_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(source_module, "request_versions", Brokers(0).request_versions)
    source = source_with("consumer")
    source.open()
    source._on_statistics(statistics(UNASKED))

    with pytest.raises(SettingsError, match=r"kafka\.group_protocol: the brokers do not offer"):
        source.poll(1)
    source.close()


@pytest.mark.parametrize("heartbeat", [1, None])
def test_a_first_answer_that_does_not_come_ends_nothing(heartbeat: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not either where nobody tells what the brokers know; they are not asked at every turn."""
    brokers = Brokers(heartbeat)
    monkeypatch.setattr(source_module, "request_versions", brokers.request_versions)
    monkeypatch.setattr(source_module, "POLL", 0)
    source = source_with("consumer")
    source.open()
    source._on_statistics(statistics(UNASKED))

    for _ in range(3):
        assert source.poll(1) == []
    assert brokers.asked == 1
    source._asked_versions_at -= source_module.VERSIONS_EVERY
    source.poll(1)
    assert brokers.asked == 2
    source.close()


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("protocol", "group"),
    [
        ("classic", UNASKED),
        ("consumer", UNASKED | {"stateage": 14_000}),
        ("consumer", UNASKED | {"join_state": "steady"}),
        ("consumer", UNASKED | {"state": "wait-coord"}),
        ("consumer", {}),
    ],
)
def test_a_group_that_is_still_being_joined_ends_nothing(
    protocol: Literal["classic", "consumer"], group: dict[str, Any]
) -> None:
    source = source_with(protocol)
    source.open()
    source._on_statistics(statistics(group))

    assert source.poll(1) == []
    source.close()


def test_one_who_was_a_member_waits_to_be_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_with("consumer")
    source.open()
    with monkeypatch.context() as patch:
        patch.setattr(Source, "is_member", True)
        source._on_statistics(statistics(UNASKED | {"join_state": "steady"}))
    source._on_statistics(statistics(UNASKED))

    assert source.poll(1) == []
    source.close()


# --- what is taken for a record of ours -----------------------------------------------------------------------------


def message(partition: int, offset: int) -> Message:
    return Message(topic="inspection.jobs", partition=partition, offset=offset, value=b"{}")


def test_what_lies_below_the_position_or_comes_before_it_is_known_is_no_record(source: Source) -> None:
    source._owned, source._unplaced, source._positions = {0, 1}, {1}, {0: 5}
    records = source._records(
        [message(0, 4), message(0, 5), message(0, 7), message(0, 5), message(1, 0), message(2, 0)]
    )

    assert [(record.partition, record.offset) for record in records] == [(0, 5), (0, 7)]
    assert source.position(0) == 8


def out_of_range(offset: int) -> Message:
    error = KafkaError(KafkaError._AUTO_OFFSET_RESET, "out of range")
    return Message(topic="inspection.jobs", partition=0, offset=offset, error=error)


def test_a_position_that_is_not_in_the_log_any_more_ends_the_process_and_so_does_a_partition_that_stands_still(
    source: Source,
) -> None:
    source._owned, source._positions = {0}, {0: 5}
    assert source._records([out_of_range(0)]) == []  # a late word of the time before its position was known
    with pytest.raises(CheckFailed, match="the committed position is not in the log any more"):
        source._records([out_of_range(5)])
    source._positions, source._unplaced = {}, {0}
    with pytest.raises(Fatal, match="cannot be started"):
        source._records([out_of_range(0)])


class Forgetful:
    """A consumer that has lost its pauses over a rebalance."""

    def __init__(self) -> None:
        self.paused: set[int] = set()

    def consume(self, *_: object) -> list[Message]:
        return []

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused.update(partition.partition for partition in partitions)


def test_what_was_paused_is_so_after_a_rebalance_whatever_librdkafka_makes_of_it(source: Source) -> None:
    source._consumer = consumer = cast("Any", Forgetful())
    source._looked_at_ends_at = float("inf")
    source._owned, source._paused, source._has_rebalanced = {0, 1}, {0}, True
    source.poll(1)

    assert consumer.paused == {0}


class Partitions:
    """The consumer's own side of a rebalance."""

    def incremental_unassign(self, _: list[TopicPartition]) -> None: ...


class Heir(Nobody):
    def __init__(self, error: Exception | None = None) -> None:
        self.heard: list[str] = []
        self.error = error

    def revoked(self, partitions: list[int]) -> None:
        self.heard.append(f"revoked {partitions}")
        if self.error:
            raise self.error

    def lost(self, partitions: list[int]) -> None:
        self.heard.append(f"lost {partitions}")


def test_lost_is_told_apart_from_revoked(source: Source) -> None:
    source._listener = heir = Heir()
    source._owned = {0, 1}
    partitions: Any = Partitions()
    source._on_revoke(partitions, [TopicPartition("inspection.jobs", 0)])
    source._on_lost(partitions, [TopicPartition("inspection.jobs", 1)])

    assert heir.heard == ["revoked [0]", "lost [1]"]
    assert source.owned == set()


def test_an_error_of_a_callback_waits_for_the_end_of_the_poll_and_what_went_away_is_gone(source: Source) -> None:
    source._listener = Heir(RuntimeError("a bug"))
    source._owned, source._positions, source._paused = {0}, {0: 5}, {0}
    partitions: Any = Partitions()
    source._on_revoke(partitions, [TopicPartition("inspection.jobs", 0)])

    assert not source.owned
    assert source.position(0) is None
    assert not source._paused
    with pytest.raises(RuntimeError, match="a bug"):
        source._raise_callback_error()


def test_a_member_of_whom_the_group_knows_nothing_is_none(source: Source) -> None:
    """librdkafka raises that when a member leaves in the midst of a rebalance (seen with KIP-848)."""

    class Leaving:
        def consumer_group_metadata(self) -> bytes:
            raise RuntimeError("Consumer group metadata not available")

    nobody: Any = Leaving()
    source._consumer = nobody
    assert source.group_metadata() is None
    assert not source.is_member


def test_the_end_of_a_log_that_the_broker_does_not_know_yet_is_none(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen on a busy broker: -1001 for a fresh topic, without an error."""

    def list_offsets(asked: dict[TopicPartition, object], **_: object) -> dict[TopicPartition, Future[Any]]:
        answers = {position: Future[Any]() for position in asked}
        for position, answer in answers.items():
            answer.set_result(SimpleNamespace(offset=-1001 if position.partition else 7))
        return answers

    monkeypatch.setattr(source._log_offsets, "_admin", SimpleNamespace(list_offsets=list_offsets))
    assert source._log_offsets([0], "latest") == {0: 7}
    with pytest.raises(Unavailable, match=r"not known yet for partitions \[1\]"):
        source._log_offsets([0, 1], "latest")
