"""How does a test drive a member of the group turn by turn, in its own thread, so that interleavings can be made?"""

import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Self

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from consumer.app import CHECKS
from consumer.errors import SettingsError, Unavailable
from consumer.health import Health
from consumer.inspector import Claim
from consumer.kafka.at_least_once import AtLeastOnce
from consumer.kafka.exactly_once import ExactlyOnce
from consumer.kafka.outlet import Head
from consumer.kafka.source import Source
from consumer.kafka.topics import LogOffsets, read_topics
from consumer.kafka.topics import Topics as KafkaTopics
from consumer.messages import Job, Outcome, encode
from consumer.metrics import Metrics
from consumer.runner import Runner, Stopped
from consumer.settings import Settings
from tests.rigs.deadline import wait_until
from tests.rigs.topics import Topics
from tests.unit.samples import a_result

QUICK = {"heartbeat.interval.ms": 200}
PROTOCOL_VARIABLE = "TEST_GROUP_PROTOCOL"
"""Names the client protocol of members whose test leaves it open; else it is classic."""
Hook = Callable[[], None]


class Hooks:
    """What happens at one moment of the next delivery, once: None is nothing."""

    def __init__(self) -> None:
        self.before_offsets: Hook | None = None  # outcomes are produced, offsets are not sent
        self.with_metadata: Hook | None = None  # the group metadata is read and grows old
        self.before_commit: Hook | None = None  # offsets are sent and the epochs are checked
        self.after_commit: Hook | None = None  # the broker has committed, the call has not returned

    def run(self, name: str) -> None:
        hook = getattr(self, name)
        setattr(self, name, None)
        if hook is not None:
            hook()


class _Source(Source):
    hooks: Hooks

    def group_metadata(self) -> Any:
        metadata = super().group_metadata()
        self.hooks.run("with_metadata")
        return metadata


class _ExactlyOnce(ExactlyOnce):
    hooks: Hooks

    def _send_offsets(self, offsets: dict[int, int], heads: Any) -> None:
        self.hooks.run("before_offsets")
        super()._send_offsets(offsets, heads)

    def _repeat(self, call: Callable[[float], object], heads: Any = ()) -> None:
        is_commit = getattr(call, "__name__", "") == "commit_transaction"
        if is_commit:
            self.hooks.run("before_commit")
        super()._repeat(call, heads)
        if is_commit:
            self.hooks.run("after_commit")


class Member:
    """The shipped runner, source and delivery; `turn` is one turn of the loop. In `with` it joins, and leaves."""

    def __init__(
        self,
        topics: Topics,
        *,
        inspect: Callable[[Job, Claim], Outcome] = lambda job, _: a_result(job.record),
        slot: str = "a",
        **sections: Mapping[str, Any],
    ) -> None:
        self.settings = settings_of(topics, **sections)
        self.topics = topics_of(self.settings)
        self.stopping = threading.Event()
        self.metrics = Metrics()
        self.health = Health(self.metrics, CHECKS)
        for check in CHECKS:
            self.health.set(check, None)
        self.runner = Runner(
            self.settings,
            inspect=inspect,
            encode=partial(
                encode,
                max_result_bytes=self.topics.max_result_bytes,
                max_dead_letter_bytes=self.topics.max_dead_letter_bytes,
            ),
            health=self.health,
            metrics=self.metrics,
            stopping=self.stopping,
        )
        self.hooks = Hooks()
        self.log_offsets = LogOffsets(self.settings)
        self.source = _Source(self.settings, self.runner, log_offsets=self.log_offsets)
        exchange = {"owns": self.runner.owns, "pump": self.runner.pump, "exchange": self.runner.exchange}
        self.delivery: Any = (
            _ExactlyOnce(self.settings, self.topics, self.source, slot=slot, **exchange)  # type: ignore[arg-type]
            if self.settings.delivery.mode == "exactly_once"
            else AtLeastOnce(self.settings, self.topics, self.source, **exchange)  # type: ignore[arg-type]
        )
        self.source.hooks = self.hooks
        if isinstance(self.delivery, _ExactlyOnce):
            self.delivery.hooks = self.hooks
        self.is_delivering_by_itself = True
        self._is_in = False

    def __enter__(self) -> Self:
        self.open_delivery()
        self.runner._source, self.runner._delivery = self.source, self.delivery
        self.source.open()
        self._is_in = True
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def run(self, *, until: Mapping[int, int] | None = None) -> Stopped:
        """The whole loop, in this thread."""
        self.open_delivery()
        return self.runner.run(self.source, self.delivery, until=until)

    def open_delivery(self) -> None:
        wait_until(self._has_opened, within=20, what="the transactional id is registered")

    def _has_opened(self) -> bool:
        try:
            self.delivery.open()
        except Unavailable:
            return False
        return True

    def leave(self) -> None:
        if self._is_in:
            self._is_in = False
            self.runner._leave()

    def turn(self) -> None:
        """One turn of the loop; without `is_delivering_by_itself` finished heads stay where they are."""
        self.runner._delivered_at = 0.0 if self.is_delivering_by_itself else float("inf")
        self.runner._turn()

    def deliver(self) -> None:
        """One try to deliver what is finished, now."""
        self.runner._deliver(self.heads)

    @property
    def heads(self) -> list[Head]:
        return self.runner._ledger.finished_heads(500)

    @property
    def owned(self) -> frozenset[int]:
        return self.source.owned

    @property
    def placed(self) -> frozenset[int]:
        """Partitions whose position is known."""
        return frozenset(partition for partition in self.owned if self.source.position(partition) is not None)

    def stable(self) -> dict[int, int | None]:
        """The group's offsets, without those that a transaction may still change."""
        return self.log_offsets.committed(list(range(self.topics.job_partitions)), timeout=0.5)

    def committed(self) -> dict[int, int | None]:
        """The group's offsets, when no transaction changes them any more."""
        offsets: dict[int, int | None] = {}

        def is_stable() -> bool:
            offsets.update(self.stable())
            return len(offsets) == self.topics.job_partitions

        wait_until(is_stable, within=20, what="the offsets are stable")
        return offsets

    def end(self, partition: int = 0) -> int:
        """The end of an output partition for a reader that does not wait for commits."""
        asked = {TopicPartition(self.topics.results, partition): OffsetSpec.latest()}  # type: ignore[no-untyped-call]
        admin = AdminClient({"bootstrap.servers": self.settings.kafka.bootstrap_servers})
        (future,) = admin.list_offsets(asked, isolation_level=IsolationLevel.READ_UNCOMMITTED).values()
        return int(future.result(10).offset)


def turns(*members: Member, until: Callable[[], bool], within: float = 20, what: str = "what was waited for") -> None:
    """Let the members go round, one after the other, until `until` holds."""

    def holds() -> bool:
        for member in members:
            member.turn()
        return until()

    wait_until(holds, within=within, what=what)


def topics_of(settings: Settings) -> KafkaTopics:
    """What the topics allow; new ones may not have come to the node that answers."""
    read: list[KafkaTopics] = []

    def is_read() -> bool:
        try:
            read.append(read_topics(settings, timeout=10))
        except SettingsError as error:
            if "does not exist" not in str(error):
                raise
        except Unavailable:  # it was stopped for a while
            return False
        return bool(read)

    wait_until(is_read, within=40, what="the topics are there")
    return read[0]


def settings_of(topics: Topics, **sections: Mapping[str, Any]) -> Settings:
    """Settings that deliver as soon as something is finished; `sections` are merged in, key by key."""
    given: dict[str, Mapping[str, Any]] = {
        **topics.settings,
        "images": {"allowed_buckets": ["parts"]},
        "delivery": {"interval": 0, "drain_timeout": 1},
    }
    merged: dict[str, Any] = given | {name: {**given.get(name, {}), **section} for name, section in sections.items()}
    merged["kafka"] = {"group_protocol": os.environ.get(PROTOCOL_VARIABLE, "classic"), **merged["kafka"]}
    if merged["kafka"].get("group_protocol") != "consumer":  # members hear of each other at once
        merged["kafka"] = {**merged["kafka"], "extra": QUICK | dict(merged["kafka"].get("extra", {}))}
    return Settings(**merged)
