"""Who is a member of the consumer group, and which partitions are whose?"""

import time
from collections.abc import Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from msgspec import Struct

from consumer.errors import SettingsError
from consumer.kafka.client import MISSING_ACL, admin_properties, describe, make, missing_right
from consumer.settings import Settings

_FOREVER = 3600.0
_AGAIN = 0.1
_MOVING = frozenset(
    {KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS}
)


class Owner(Struct, frozen=True):
    """The member that a partition is assigned to. All of our processes have one client id: host and member id tell
    them apart."""

    member_id: str
    client_id: str
    host: str


@dataclass(frozen=True, slots=True)
class Group:
    """What the group's coordinator says. `state`: stable, empty (nobody is a member), preparing_rebalancing,
    completing_rebalancing, dead or unknown (there is no such group), or no answer."""

    state: str
    protocol: str = "unknown"
    members: int = 0
    owners: Mapping[int, Owner] = field(default_factory=dict)


NO_ANSWER = Group("no answer")
UNKNOWN = Group("unknown")


def ask_group(admin: AdminClient, name: str, **options: Any) -> "Future[Any]":
    """The one safe way to ask for a group. Whoever asks gives up waiting by himself: librdkafka's own time-out of this
    request must never run out, since an answer that comes after it aborts the process (librdkafka#4605)."""
    (question,) = admin.describe_consumer_groups([name], request_timeout=_FOREVER, **options).values()
    return question


class GroupReader:
    """Asks for the group, one question at a time; use one for as long as you look."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.topics.jobs
        self._name = settings.kafka.group_id
        self._admin = make(AdminClient, admin_properties(settings))
        self._question: Future[Any] | None = None

    def read(self, *, timeout: float) -> Group:
        """NO_ANSWER while there is none; the question stays asked. Raises SettingsError for a missing right."""
        end = time.monotonic() + timeout
        while True:
            if self._question is None:
                self._question = ask_group(self._admin, self._name)
            wait([self._question], end - time.monotonic())
            if not self._question.done():
                return NO_ANSWER
            answered, self._question = self._question, None
            try:
                return self._group(answered.result())
            except KafkaException as error:
                if error.args[0].code() not in _MOVING or time.monotonic() > end:
                    return self._judge(error.args[0])
            time.sleep(_AGAIN)

    def _judge(self, error: KafkaError) -> Group:
        if error.code() in MISSING_ACL:
            raise SettingsError(f"kafka: {missing_right(error)}")
        if error.code() == KafkaError.GROUP_ID_NOT_FOUND:
            return UNKNOWN
        return Group(f"no answer ({describe(error)})")

    def _group(self, description: Any) -> Group:
        if description.state == ConsumerGroupState.DEAD:
            return UNKNOWN
        owners = {
            place.partition: Owner(member.member_id, member.client_id, member.host.removeprefix("/"))
            for member in description.members
            for place in member.assignment.topic_partitions
            if place.topic == self._topic
        }
        return Group(
            state=description.state.name.lower(),
            protocol=description.type.name.lower(),
            members=len(description.members),
            owners=owners,
        )
