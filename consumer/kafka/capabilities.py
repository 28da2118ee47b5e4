"""What can the brokers do? Read from the versions of the requests that they take."""

import logging
import re
from collections.abc import Mapping

from confluent_kafka import KafkaException, libversion
from confluent_kafka.admin import AdminClient

from consumer.errors import Unavailable
from consumer.kafka.client import admin_properties, describe, make
from consumer.settings import Settings

# Numbers of requests in Kafka's protocol, and the version from which each does what we rest on.
TXN_OFFSET_COMMIT, CONSUMER_GROUP_HEARTBEAT = 28, 68
FENCES_BY_GENERATION = (TXN_OFFSET_COMMIT, 3)  # KIP-447, Kafka 2.5
NEW_GROUP_PROTOCOL = (CONSUMER_GROUP_HEARTBEAT, 1)  # KIP-848 as it was released, Kafka 4.0

_LINE = re.compile(r"ApiKey \S+ \((\d+)\) Versions \d+\.\.(\d+)")


def librdkafka_version() -> str:
    return libversion()[0]


def request_versions(settings: Settings, *, timeout: float) -> Mapping[int, int]:
    """The highest version that a broker takes of each request; empty when none was told. Raises Unavailable.

    librdkafka asks every broker for them and keeps them to itself but for its debug log.
    """
    told: list[str] = []
    properties = admin_properties(settings) | {"debug": "feature", "log_level": 7, "logger": _keeping(told)}
    admin = make(AdminClient, properties)
    try:
        admin.list_topics(timeout=timeout)
    except KafkaException as error:
        raise Unavailable("broker", f"versions: {describe(error.args[0])}") from error
    admin.poll(0)  # serves the log
    return {int(found[1]): int(found[2]) for line in told if (found := _LINE.search(line))}


def can(versions: Mapping[int, int], capability: tuple[int, int]) -> bool:
    request, least = capability
    return versions.get(request, -1) >= least


def _keeping(lines: list[str]) -> logging.Logger:
    """A logger of its own that nobody else hears."""

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger = logging.Logger("librdkafka.features", logging.DEBUG)  # noqa: LOG001  # outside the tree of all others
    logger.addHandler(Keeper())
    return logger
