"""Does a consumer that librdkafka has cut off from its brokers get another one?"""

import pytest

from consumer.kafka import source as source_module
from consumer.kafka.source import Source
from consumer.kafka.topics import LogOffsets
from consumer.settings import ImageSettings, KafkaSettings, Settings
from tests.rigs.deadline import wait_until
from tests.rigs.ports import free_port


class Nobody:
    """A listener that has nothing to do."""

    def assigned(self, partitions: list[int]) -> None: ...
    def revoked(self, partitions: list[int]) -> None: ...
    def lost(self, partitions: list[int]) -> None: ...


@pytest.fixture
def source() -> Source:
    kafka = KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}")
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
