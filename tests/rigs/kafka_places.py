"""Which node of a cluster leads what, and are all its copies the same?"""

from functools import reduce
from typing import Any

from confluent_kafka import ElectionType, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from tests.rigs.deadline import wait_until

_SECONDS = 10
_GROUPS, _TRANSACTIONS = "__consumer_offsets", "__transaction_state"


class Places:
    """Asks a cluster where things are; nodes count from 0, as in KafkaCluster."""

    def __init__(self, bootstrap_servers: str) -> None:
        quick = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200}
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0, **quick})

    def leader(self, topic: str, partition: int) -> int | None:
        """Who leads a partition; None while nobody does."""
        leader = self._metadata(topic)[partition].leader
        return None if leader < 0 else int(leader) - 1

    def group_coordinator(self, group: str) -> int | None:
        """The leader of the internal partition that keeps the group's offsets."""
        return self._keeper(_GROUPS, group)

    def transaction_coordinator(self, transactional_id: str) -> int | None:
        """The leader of the internal partition that keeps the transactional id's state."""
        return self._keeper(_TRANSACTIONS, transactional_id)

    def led_by(self, node: int) -> list[tuple[str, int]]:
        """All partitions that a node leads, those of internal topics too."""
        return [
            (topic, number)
            for topic, partitions in self._all().items()
            for number, partition in partitions.items()
            if partition.leader == node + 1
        ]

    def leads_nothing(self, node: int) -> bool:
        """Whether it is known to lead nothing: a node that is ill may keep its cluster from answering."""
        try:
            return not self.led_by(node)
        except KafkaException:
            return False

    def wait_in_sync(self, *, within: float = 60) -> None:
        """Return when every partition has a leader and all its copies are in sync."""
        wait_until(self._is_in_sync, within=within, what=lambda: f"all copies are in sync, not {self._behind()}")

    def give_back(self, *, within: float = 30) -> None:
        """Let each partition's preferred node lead it again: what a stopped node led had moved and stays there."""
        self.wait_in_sync(within=within)
        wait_until(lambda: not self._refusals(), within=within, what=lambda: f"leaders are elected: {self._refusals()}")

    def _refusals(self) -> list[KafkaError]:
        """A node that has just come back may be counted in before it may lead."""
        answers = self._admin.elect_leaders(ElectionType.PREFERRED, None).result(_SECONDS).values()
        return [refusal for refusal in answers if refusal and refusal.code() != KafkaError.ELECTION_NOT_NEEDED]

    def _keeper(self, topic: str, name: str) -> int | None:
        return self.leader(topic, abs(_java_hash(name)) % len(self._metadata(topic)))

    def _is_in_sync(self) -> bool:
        try:
            return not self._behind()
        except KafkaException:
            return False

    def _behind(self) -> list[tuple[str, int]]:
        return [
            (topic, number)
            for topic, partitions in self._all().items()
            for number, partition in partitions.items()
            if partition.leader < 0 or set(partition.isrs) != set(partition.replicas)
        ]

    def _metadata(self, topic: str) -> dict[int, Any]:
        found: dict[int, Any] = self._admin.list_topics(topic, timeout=_SECONDS).topics[topic].partitions
        return found

    def _all(self) -> dict[str, dict[int, Any]]:
        return {name: topic.partitions for name, topic in self._admin.list_topics(timeout=_SECONDS).topics.items()}


def _java_hash(text: str) -> int:
    """`String.hashCode`: 32 bits, signed."""
    hashed = reduce(lambda before, letter: (31 * before + ord(letter)) & 0xFFFFFFFF, text, 0)
    return hashed - (1 << 32) if hashed >> 31 else hashed
