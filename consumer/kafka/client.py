"""How librdkafka is configured, and which of its errors mean what."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException

from consumer.errors import SettingsError
from consumer.settings import Settings

Client = TypeVar("Client")

logger = logging.getLogger("librdkafka")
# Our own calls are bounded, so requests that outlive them are ordinary, and in an outage each attempt to connect fails:
# readiness tells what follows from both, once.
_ORDINARY = ("REQTMOUT", "FAIL")
logger.addFilter(lambda record: not record.getMessage().startswith(_ORDINARY) or logger.isEnabledFor(logging.DEBUG))

TRANSACTION_TIMEOUT = 12.0
CALL_TIMEOUT = 2.0
"""No call from the thread that owns the clients may block for longer: it must see signals and keep its membership."""

REFUSED_PAUSE = 5.0
"""Seconds between deliveries while a right is missing that was there at the start: only a person gives it back."""

REFUSED_CREDENTIALS = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._SSL})

MISSING_ACL = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "a topic (Read on jobs, Write on results and dead letters, Describe on all)",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "the consumer group (Read)",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "the transactional id (Write, Describe)",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "the cluster (IdempotentWrite)",
}

# Why a broker will never take us as a member, by the setting that is at fault.
REFUSED_MEMBERSHIP = {
    KafkaError.INVALID_SESSION_TIMEOUT: "kafka.extra.session.timeout.ms",
    KafkaError.INCONSISTENT_GROUP_PROTOCOL: "kafka.group_id (its members share partitions out in another way)",
    KafkaError.INVALID_GROUP_ID: "kafka.group_id",
    KafkaError.UNSUPPORTED_VERSION: "kafka.group_protocol",
}

# Properties that only one of the two clients knows; the other would log a warning about each.
_CONSUMER_ONLY = (
    "auto.",
    "check.crcs",
    "consume.callback",
    "coordinator.query",
    "fetch.",
    "group.",
    "heartbeat.",
    "max.poll.",
    "offset.store.",
    "partition.assignment.",
    "queued.",
    "session.",
)
_PRODUCER_ONLY = (
    "acks",
    "batch.",
    "compression.",
    "delivery.",
    "enable.gapless",
    "linger.",
    "message.send.",
    "message.timeout",
    "partitioner",
    "produce.",
    "queue.buffering",
    "queuing.",
    "request.",
    "retries",
    "sticky.",
    "transaction.",
)


def make(client: Callable[[dict[str, Any]], Client], properties: dict[str, Any]) -> Client:
    """A client of librdkafka. Raises SettingsError for properties that it does not accept."""
    try:
        return client(properties)
    except KafkaException as error:
        raise SettingsError(f"kafka: {error.args[0].str()}") from error


def consumer_properties(settings: Settings) -> dict[str, Any]:
    """Manual offsets, read_committed, no reset ever: delivery and start position are ours."""
    own: dict[str, Any] = {
        "group.id": settings.kafka.group_id,
        "group.protocol": settings.kafka.group_protocol,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "isolation.level": "read_committed",
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "max.poll.interval.ms": 120_000,
        "fetch.message.max.bytes": 262_144,  # small, so that partitions interleave
        "queued.min.messages": 1000,
        "queued.max.messages.kbytes": 8192,
        "fetch.queue.backoff.ms": 50,
        "check.crcs": True,
        "allow.auto.create.topics": False,
        "statistics.interval.ms": 1000,
        "topic.metadata.refresh.interval.ms": 30_000,  # when partitions are added to the jobs topic this sees them
    }
    if settings.kafka.group_protocol == "classic":  # with KIP-848 these three are the broker's
        own |= {
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": 20_000,
            "heartbeat.interval.ms": 3000,
        }
    return _common(settings) | own | _extra(settings, without=_PRODUCER_ONLY)


def producer_properties(settings: Settings) -> dict[str, Any]:
    """Idempotent; transactional too where the caller adds `transactional.id`."""
    own: dict[str, Any] = {
        "enable.idempotence": True,
        "message.timeout.ms": 10_000,
        "socket.timeout.ms": 5000,
        "linger.ms": 5,
        "compression.type": "lz4",
        "message.max.bytes": 1_000_000_000,  # the topic's limit is what counts, and it is checked before
    }
    return _common(settings) | own | _extra(settings, without=_CONSUMER_ONLY)


def transactional_id(settings: Settings, slot: str) -> str:
    return f"inspection.{settings.kafka.group_id}.{slot}"


def admin_properties(settings: Settings) -> dict[str, Any]:
    quiet = {"log_level": 0}  # its calls say what went wrong, once instead of ten times a second
    return _common(settings) | quiet | _extra(settings, without=(*_PRODUCER_ONLY, *_CONSUMER_ONLY))


def describe(error: KafkaError) -> str:
    return f"{error.name()}: {error.str()}"


def missing_right(error: KafkaError, *, group: str | None = None, transactional_id: str | None = None) -> str:
    """What to grant, by name where the caller knows whose right it may be."""
    match error.code():
        case KafkaError.GROUP_AUTHORIZATION_FAILED if group is not None:
            return f"a right is missing: grant Read on group {group} to this user: {describe(error)}"
        case KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED if transactional_id is not None:
            named = f"transactional id {transactional_id} (a prefixed ACL where delivery.slot is auto)"
            return f"a right is missing: grant Write on {named} to this user: {describe(error)}"
    if (what := MISSING_ACL.get(error.code())) is not None:
        return f"a right is missing on {what}: {describe(error)}"
    return f"the broker refuses the credentials: {describe(error)}"


def _common(settings: Settings) -> dict[str, Any]:
    return {"bootstrap.servers": settings.kafka.bootstrap_servers, "client.id": "inspection-consumer", "logger": logger}


def _extra(settings: Settings, *, without: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in settings.kafka.extra.items() if not name.startswith(without)}
