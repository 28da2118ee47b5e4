"""What do topics look like at the broker, and how are they made?"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    ClusterMetadata,
    ConfigResource,
    NewPartitions,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic

from consumer.errors import SettingsError, Unavailable
from consumer.kafka.client import MISSING_ACL, REFUSED_CREDENTIALS, admin_properties, describe, make, missing_right
from consumer.kafka.topics import MAY_NOT_ASK, ask_metadata, is_mock
from consumer.retry import delays
from consumer.settings import Settings

Answer = TypeVar("Answer")

TIMEOUT = 8.0
BROKERS_DEFAULT = -1
# Said for a moment after a topic was made, by brokers that have not heard of it yet.
_NOT_YET = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.LEADER_NOT_AVAILABLE})


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is; `settings` holds all that are in force, None where we may not ask for them."""

    name: str
    partitions: int
    replicas: int
    settings: Mapping[str, str] | None

    def number(self, setting: str) -> int | None:
        text = (self.settings or {}).get(setting)
        return int(text) if text is not None else None


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """A topic to be made; settings that are not named are the broker's."""

    name: str
    partitions: int
    replicas: int = BROKERS_DEFAULT
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cluster:
    """The brokers that answer, each as host:port."""

    id: str
    brokers: tuple[str, ...]
    is_mock: bool


class AlreadyThere(SettingsError):
    """Somebody else made the topic at the same time."""


class Administration:
    """Asks and tells the brokers; each call takes `timeout` seconds at most.

    Raises SettingsError for what a person must mend (credentials, rights), Unavailable for what may pass.
    """

    def __init__(self, settings: Settings, *, timeout: float = TIMEOUT) -> None:
        self._settings = settings
        self._timeout = timeout
        self._refusals: list[KafkaError] = []
        self._admin = make(AdminClient, admin_properties(settings) | {"error_cb": self._refusals.append})

    def cluster(self) -> Cluster:
        metadata = self._metadata()
        brokers = tuple(f"{broker.host}:{broker.port}" for broker in metadata.brokers.values())
        return Cluster(str(metadata.cluster_id), brokers, is_mock(metadata))

    def topics(self, names: Sequence[str]) -> dict[str, Topic]:
        """Those that exist, by their names. Raises SettingsError for one that may not be described."""
        metadata = self._metadata()
        found = {}
        for name in names:
            topic = metadata.topics.get(name)
            if topic is not None and topic.error is not None and topic.error.code() in MISSING_ACL:
                raise SettingsError(f"no right to describe topic {name}: {describe(topic.error)}")
            if topic is not None and topic.partitions:
                replicas = min(len(partition.replicas) for partition in topic.partitions.values())
                in_force = None if is_mock(metadata) else self._settings_of(ResourceType.TOPIC, name)
                found[name] = Topic(name, len(topic.partitions), replicas, in_force)
        return found

    def broker_settings(self) -> Mapping[str, str] | None:
        """Those of one broker, which new topics take over; None where we may not ask."""
        first = min(self._metadata().brokers)
        return self._settings_of(ResourceType.BROKER, str(first))

    def create(self, plan: TopicPlan) -> Topic:
        """Make it and return it as it came out. Raises AlreadyThere where it exists."""
        wanted = NewTopic(plan.name, plan.partitions, replication_factor=plan.replicas, config=dict(plan.settings))
        made = self._admin.create_topics([wanted], operation_timeout=self._timeout, request_timeout=self._timeout)
        self._asked(f"topic {plan.name} cannot be created", made[plan.name].result)
        return self.seen(plan.name, plan.partitions)

    def add_partitions(self, name: str, count: int) -> Topic:
        """Give a topic more of them, `count` in all."""
        wanted = NewPartitions(name, count)
        added = self._admin.create_partitions([wanted], operation_timeout=self._timeout, request_timeout=self._timeout)
        self._asked(f"topic {name} cannot be given {count} partitions", added[name].result)
        return self.seen(name, count)

    def seen(self, name: str, partitions: int = 1) -> Topic:
        """The topic once the brokers have heard of it: the controller is faster than they are."""
        end = time.monotonic() + self._timeout
        for delay in delays():
            topic = self.topics([name]).get(name)
            if topic is not None and topic.partitions >= partitions:
                return topic
            if time.monotonic() > end:
                break
            time.sleep(delay)
        raise Unavailable("broker", f"topic {name} was made, but the brokers do not show it with all its partitions")

    def _metadata(self) -> ClusterMetadata:
        return ask_metadata(self._settings, self._admin, self._refusals, timeout=self._timeout)

    def _settings_of(self, kind: ResourceType, name: str) -> Mapping[str, str] | None:
        resource = ConfigResource(kind, name)
        end = time.monotonic() + self._timeout
        for delay in delays():
            (future,) = self._admin.describe_configs([resource], request_timeout=self._timeout).values()
            try:
                entries: dict[str, Any] = future.result()
            except KafkaException as error:
                code = error.args[0].code()
                if code in MAY_NOT_ASK:
                    return None
                if code not in _NOT_YET or time.monotonic() > end:
                    raise Unavailable("broker", f"settings of {name}: {describe(error.args[0])}") from error
            else:
                return {key: entry.value for key, entry in entries.items() if entry.value is not None}
            time.sleep(delay)
        raise AssertionError("delays() has no end")

    def _asked(self, what: str, call: Callable[[], Answer]) -> Answer:
        try:
            return call()
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if cause.code() in MISSING_ACL or cause.code() in REFUSED_CREDENTIALS:
                raise SettingsError(f"{what}: {missing_right(cause)}") from error
            if cause.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                raise AlreadyThere(f"{what}: {describe(cause)}") from error
            if cause.retriable() or cause.code() < 0:
                raise Unavailable("broker", f"{what}: {describe(cause)}") from error
            raise SettingsError(f"{what}: {describe(cause)}") from error
