"""Does librdkafka get what delivery rests on, and each client only what it knows?"""

import logging
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from pydantic import ValidationError

from consumer.kafka.client import admin_properties, consumer_properties, producer_properties
from consumer.settings import ImageSettings, KafkaSettings, Settings

# One of each kind that an extra may set.
EVERYONES = {"client.rack": "a", "retry.backoff.ms": 200, "socket.keepalive.enable": True}
CONSUMERS = {
    "auto.commit.interval.ms": 5000,
    "consume.callback.max.messages": 10,
    "coordinator.query.interval.ms": 60_000,
    "fetch.wait.max.ms": 100,
    "group.instance.id": "pod-1",
    "max.poll.interval.ms": 300_000,
    "queued.min.messages": 500,
    "session.timeout.ms": 30_000,
}
PRODUCERS = {
    "acks": "all",
    "batch.size": 100_000,
    "compression.level": 1,
    "delivery.timeout.ms": 15_000,
    "linger.ms": 20,
    "message.send.max.retries": 10,
    "message.timeout.ms": 15_000,
    "partitioner": "random",
    "queue.buffering.max.messages": 5000,
    "request.timeout.ms": 20_000,
    "retries": 5,
    "sticky.partitioning.linger.ms": 20,
    "transaction.timeout.ms": 20_000,
}


def settings(**kafka: Any) -> Settings:
    return Settings(
        images=ImageSettings(allowed_buckets=("*",)),
        kafka=KafkaSettings.model_validate({"bootstrap_servers": "127.0.0.1:1"} | kafka),
    )


@pytest.fixture
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONSUMER__KAFKA__EXTRA", "CONSUMER__KAFKA__BOOTSTRAP_SERVERS"):
        monkeypatch.delenv(name, raising=False)


pytestmark = pytest.mark.usefixtures("_no_variables")


def test_the_consumer_never_moves_its_offsets_by_itself() -> None:
    properties = consumer_properties(settings(group_id="g"))

    assert {name: properties[name] for name in ("group.id", "isolation.level", "auto.offset.reset")} == {
        "group.id": "g",
        "isolation.level": "read_committed",
        "auto.offset.reset": "error",
    }
    assert properties["enable.auto.commit"] is False
    assert properties["enable.auto.offset.store"] is False
    assert properties["allow.auto.create.topics"] is False
    assert properties["partition.assignment.strategy"] == "cooperative-sticky"


@pytest.mark.parametrize("name", ["isolation.level", "enable.auto.commit", "auto.offset.reset", "transactional.id"])
def test_what_the_promises_rest_on_may_not_be_set(name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        settings(extra={name: "read_uncommitted"})


def test_the_producer_is_idempotent_and_bounded() -> None:
    properties = producer_properties(settings())

    assert properties["enable.idempotence"] is True
    assert properties["message.timeout.ms"] <= 10_000
    assert properties["compression.type"] == "lz4"


def test_extra_wins_over_our_choices_and_reaches_the_client_that_knows_it() -> None:
    told = settings(extra=EVERYONES | CONSUMERS | PRODUCERS)

    assert consumer_properties(told).items() >= (EVERYONES | CONSUMERS).items()
    assert not consumer_properties(told).keys() & PRODUCERS.keys()
    assert producer_properties(told).items() >= (EVERYONES | PRODUCERS).items()
    assert not producer_properties(told).keys() & CONSUMERS.keys()
    assert admin_properties(told).items() >= EVERYONES.items()
    assert not admin_properties(told).keys() & (CONSUMERS | PRODUCERS).keys()


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_librdkafka_takes_the_properties_and_ignores_none(caplog: pytest.LogCaptureFixture, protocol: str) -> None:
    caplog.set_level(logging.WARNING)
    extra: dict[str, Any] = EVERYONES | PRODUCERS
    extra |= {name: value for name, value in CONSUMERS.items() if protocol == "classic" or "session" not in name}
    told = settings(group_protocol=protocol, extra=extra)

    consumer = Consumer(consumer_properties(told))
    consumer.poll(0.05)
    consumer.close()
    producer = Producer(producer_properties(told))
    producer.poll(0.05)
    AdminClient(admin_properties(told)).poll(0.05)

    complaints = [record.getMessage() for record in caplog.records if "CONFWARN" in record.getMessage()]
    assert complaints == []


def test_with_the_new_protocol_the_session_is_the_brokers() -> None:
    properties = consumer_properties(settings(group_protocol="consumer"))

    assert properties["group.protocol"] == "consumer"
    classic = {"partition.assignment.strategy", "session.timeout.ms", "heartbeat.interval.ms", "group.instance.id"}
    assert not classic & properties.keys()
