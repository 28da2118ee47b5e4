"""Does a consumer that librdkafka has cut off from its brokers get another one?"""

import json
from typing import Any, Literal

import pytest

from consumer.demo.ports import free_port
from consumer.errors import SettingsError
from consumer.kafka import source as source_module
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


def test_a_consumer_that_stays_outside_the_group_without_a_broker_is_replaced(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "REJOIN_AFTER", 0.3)
    source.open()
    polls_until_another(source)
    polls_until_another(source)  # and so is the next one
    source.close()


def test_a_consumer_is_given_time_before_it_is_replaced(source: Source) -> None:
    source.open()
    wait_until(lambda: source.poll(1) == [] and source.broker_trouble is not None, within=15, what="trouble")
    first = source.consumer
    for _ in range(10):
        source.poll(1)
    assert source.consumer is first
    source.close()


# What librdkafka's statistics say of the group, 15 s after a start against Kafka 3.9, which does not offer KIP-848.
UNASKED = {"state": "up", "join_state": "init", "stateage": 15_000}


def statistics(group: dict[str, Any]) -> str:
    return json.dumps({"brokers": {}, "topics": {}, "cgrp": group})


def test_brokers_that_do_not_offer_the_new_group_protocol_end_the_process_by_the_settings_name() -> None:
    source = source_with("consumer")
    source.open()
    source._on_statistics(statistics(UNASKED))

    with pytest.raises(SettingsError, match=r"kafka\.group_protocol: the brokers do not offer"):
        source.poll(1)
    source.close()


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
