"""What the three topics allow: partition counts and size limits, read once before the group is joined."""

import contextlib
import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ClusterMetadata, ConfigResource, OffsetSpec, ResourceType

from consumer.errors import SettingsError, Unavailable
from consumer.kafka.client import (
    MISSING_ACL,
    admin_properties,
    consumer_properties,
    describe,
    make,
    missing_right,
)
from consumer.kafka.refusal import no_answer
from consumer.kafka.rights import Rights, ask_topic_rights
from consumer.settings import Settings

logger = logging.getLogger(__name__)

DEFAULT_MAX_MESSAGE_BYTES = 1_048_588  # Kafka's own
LIBRDKAFKA_BATCH = 1_000_000  # its default `batch.size`
DEAD_LETTER_MARGIN = 64 * 1024  # a dead letter is the job and the headers that say what went wrong

SINGLE_TIMEOUT = 0.1
SINGLES = 8  # together they may block the loop for as long as one call may

_KEYS = ("jobs", "results", "dead_letters")
_NEEDS = {"jobs": "READ", "results": "WRITE", "dead_letters": "WRITE"}
_MOCK_CLUSTER = "mockCluster"  # how the id of librdkafka's own begins: it has no controller to be asked for limits

MAY_NOT_ASK = frozenset({*MISSING_ACL, KafkaError.UNSUPPORTED_VERSION, KafkaError._UNSUPPORTED_FEATURE})


@dataclass(frozen=True, slots=True)
class Topics:
    """Names, partition counts and `max.message.bytes`. Counts are fixed for the process's life: partitions that are
    added to an output topic while we run must not change which one an input partition goes to."""

    jobs: str
    results: str
    dead_letters: str
    job_partitions: int
    result_partitions: int
    dead_letter_partitions: int
    max_result_bytes: int
    max_dead_letter_bytes: int

    @property
    def max_batch_bytes(self) -> int:
        """What one batch of outcomes may hold: the broker measures batches, not records, by `max.message.bytes`."""
        return min(self.max_result_bytes, self.max_dead_letter_bytes, LIBRDKAFKA_BATCH)


def read_topics(settings: Settings, *, timeout: float) -> Topics:
    """Ask the broker. Raises SettingsError for what a person must mend, Unavailable for what may pass."""
    refusals: list[KafkaError] = []
    admin = make(AdminClient, admin_properties(settings) | {"error_cb": refusals.append})
    names = [settings.topics.jobs, settings.topics.results, settings.topics.dead_letters]
    if len(set(names)) < len(names):
        raise SettingsError(f"topics: jobs, results and dead_letters must differ, got {', '.join(names)}")

    metadata = ask_metadata(settings, admin, refusals, timeout=timeout)
    if not is_mock(metadata):
        _refuse_missing_rights(settings, ask_topic_rights(admin, names, timeout=timeout), _NEEDS)
    partitions = _partition_counts(settings, metadata)
    sizes = size_limits(admin, names, metadata, timeout=timeout)
    if not is_mock(metadata):
        _warn_of_unknown(sizes)
    _refuse_small_dead_letters(names[0], sizes[names[0]], names[2], sizes[names[2]])
    jobs, results, dead_letters = names
    return Topics(
        jobs=jobs,
        results=results,
        dead_letters=dead_letters,
        job_partitions=partitions[jobs],
        result_partitions=partitions[results],
        dead_letter_partitions=partitions[dead_letters],
        max_result_bytes=sizes[results] or DEFAULT_MAX_MESSAGE_BYTES,
        max_dead_letter_bytes=sizes[dead_letters] or DEFAULT_MAX_MESSAGE_BYTES,
    )


def check_readable(settings: Settings, *, timeout: float) -> None:
    """Whether all three topics are there and may be read, as an auditor does. Raises as `read_topics` does."""
    refusals: list[KafkaError] = []
    admin = make(AdminClient, admin_properties(settings) | {"error_cb": refusals.append})
    metadata = ask_metadata(settings, admin, refusals, timeout=timeout)
    if not is_mock(metadata):  # first: what may not be seen looks as if it were not there
        rights = ask_topic_rights(admin, [getattr(settings.topics, key) for key in _KEYS], timeout=timeout)
        _refuse_missing_rights(settings, rights, dict.fromkeys(_KEYS, "READ"))
    _partition_counts(settings, metadata)


class Committed(NamedTuple):
    """Where the group left a partition, and what its owner wrote beside that."""

    offset: int
    note: str


class LogOffsets:
    """Where the partitions of the jobs topic begin and end, behind the last stable record or marker, and which
    offsets the group has committed there."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.topics.jobs
        self._group = settings.kafka.group_id
        self._admin = make(AdminClient, admin_properties(settings))
        # A consumer that never joins. The admin client's list_consumer_group_offsets is not safe with a time-out: an
        # answer that comes after it aborts the process (librdkafka#4605), and a restarted coordinator is never found.
        quiet = {"log_level": 0, "statistics.interval.ms": 0}
        self._member = make(Consumer, consumer_properties(settings) | quiet)

    def ends(self, *, timeout: float) -> dict[int, int]:
        """The end of every partition. Raises Unavailable while the broker does not say."""
        try:
            partitions = list(self._admin.list_topics(self._topic, timeout=timeout).topics[self._topic].partitions)
        except KafkaException as error:
            raise Unavailable("broker", f"partitions of {self._topic}: {describe(error.args[0])}") from error
        return self(partitions, "latest", timeout=timeout)

    def committed(self, partitions: list[int], *, timeout: float) -> dict[int, int | None]:
        """The offsets of `standing`."""
        answers = self.standing(partitions, timeout=timeout)
        return {partition: answer and answer.offset for partition, answer in answers.items()}

    def standing(self, partitions: list[int], *, timeout: float) -> dict[int, Committed | None]:
        """The group's offsets, None where it has none. Raises Unavailable while the broker does not say, SettingsError
        for a missing right.

        Partitions whose offset a transaction may still change are left out, and for as long as there are such ones
        perhaps others too: ask again.
        """
        try:
            return self._ask(partitions, timeout)
        except Unavailable:
            if len(partitions) == 1:
                raise
        # One that is not stable holds up the answer for all: ask for some of them alone, others at the next call.
        answers: dict[int, Committed | None] = {}
        for partition in random.sample(partitions, min(SINGLES, len(partitions))):
            with contextlib.suppress(Unavailable):
                answers |= self._ask([partition], SINGLE_TIMEOUT)
        return answers

    def _ask(self, partitions: list[int], timeout: float) -> dict[int, Committed | None]:
        positions = [TopicPartition(self._topic, partition) for partition in partitions]
        try:
            answers = self._member.committed(positions, timeout=timeout)
        except KafkaException as error:
            if error.args[0].code() in MISSING_ACL:
                raise SettingsError(f"kafka: {missing_right(error.args[0], group=self._group)}") from error
            raise Unavailable("broker", f"offsets of group {self._group}: {describe(error.args[0])}") from error
        return {
            answer.partition: Committed(answer.offset, answer.metadata or "") if answer.offset >= 0 else None
            for answer in answers
            if not answer.error
        }

    def __call__(self, partitions: list[int], end: str, *, timeout: float = 1.0) -> dict[int, int]:
        """`end`: earliest or latest. Raises Unavailable while the broker does not say."""
        spec = OffsetSpec.earliest() if end == "earliest" else OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = {TopicPartition(self._topic, partition): spec for partition in partitions}
        stable = IsolationLevel.READ_COMMITTED
        try:
            answers = self._admin.list_offsets(asked, isolation_level=stable, request_timeout=timeout)
            offsets = {position.partition: future.result().offset for position, future in answers.items()}
        except KafkaException as error:
            self._learn_leaders(timeout)
            raise Unavailable("broker", f"offsets of {self._topic}: {describe(error.args[0])}") from error
        if unknown := sorted(partition for partition, offset in offsets.items() if offset < 0):
            # A broker that has just become their leader answers so, without an error.
            raise Unavailable("broker", f"offsets of {self._topic}: not known yet for partitions {unknown}")
        return offsets

    def _learn_leaders(self, timeout: float) -> None:
        """librdkafka keeps what it knows of a leader that went and came back, and is refused for its old epoch
        (FENCED_LEADER_EPOCH) at every question, until the metadata is asked for."""
        with contextlib.suppress(KafkaException):
            self._admin.list_topics(self._topic, timeout=timeout)


def _refuse_small_dead_letters(jobs: str, job_bytes: int | None, dead_letters: str, bytes_: int | None) -> None:
    if job_bytes is None or bytes_ is None or bytes_ >= job_bytes + DEAD_LETTER_MARGIN:
        return
    raise SettingsError(
        f"topics.dead_letters: max.message.bytes of {dead_letters} is {bytes_}, but a dead letter holds the whole job: "
        f"it needs {job_bytes + DEAD_LETTER_MARGIN}, that of {jobs} + 64 KiB"
    )


def ask_metadata(
    settings: Settings,
    admin: AdminClient,
    refusals: list[KafkaError],
    *,
    topic: str | None = None,
    timeout: float,
) -> ClusterMetadata:
    """That of all topics, or of one; `refusals` is where the client's error_cb puts what it hears. Raises SettingsError
    for refused credentials, Unavailable without an answer."""
    try:
        return admin.list_topics(topic, timeout=timeout) if topic else admin.list_topics(timeout=timeout)
    except KafkaException as error:
        admin.poll(0)  # serves error_cb: the call itself only says that nothing was had
        raise no_answer(settings, refusals, error.args[0]) from error


def _refuse_missing_rights(settings: Settings, rights: Mapping[str, Rights | None], needs: Mapping[str, str]) -> None:
    """Looked at beforehand, since what may not be read is refused to a member only, and what may not be written only
    when the first outcome is there. A topic that may not even be seen is left out of the metadata, as a missing one."""
    for key, need in needs.items():
        name = getattr(settings.topics, key)
        refuse_missing_right(name, rights.get(name), need, key=f"topics.{key}")


def refuse_missing_right(topic: str, granted: Rights | None, need: str, *, key: str) -> None:
    """Raises SettingsError, which begins with `key`; None as rights are those that the broker does not tell."""
    if granted is not None and need not in granted:
        there_is = ", ".join(sorted(right.title() for right in granted)) or "none"
        raise SettingsError(
            f"{key}: a right is missing: grant {need.title()} on topic {topic} to this user (there is {there_is})"
        )


def _partition_counts(settings: Settings, metadata: ClusterMetadata) -> dict[str, int]:
    servers = settings.kafka.bootstrap_servers
    counts = {}
    for key in _KEYS:
        name = getattr(settings.topics, key)
        topic = metadata.topics.get(name)
        trouble: KafkaError | None = topic.error if topic else None
        if trouble is not None and trouble.code() in MISSING_ACL:
            raise SettingsError(f"topics.{key}: no right to describe topic {name} on {servers}: {describe(trouble)}")
        if topic is None or (trouble is not None and trouble.code() == KafkaError.UNKNOWN_TOPIC_OR_PART):
            raise SettingsError(f"topics.{key}: topic {name} does not exist on {servers}")
        if trouble is not None or not topic.partitions:
            raise Unavailable("broker", f"topic {name} has no partitions to be seen yet on {servers}")
        counts[name] = len(topic.partitions)
    return counts


def is_mock(metadata: ClusterMetadata) -> bool:
    """Whether it is librdkafka's own cluster, which has no controller and answers no question about settings."""
    return str(metadata.cluster_id).startswith(_MOCK_CLUSTER)


def size_limits(
    admin: AdminClient, names: list[str], metadata: ClusterMetadata, *, timeout: float
) -> dict[str, int | None]:
    """`max.message.bytes` of each topic, None where we may not ask. Raises Unavailable."""
    if is_mock(metadata):
        return dict.fromkeys(names)
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    limits: dict[str, int | None] = {}
    for resource, future in admin.describe_configs(resources, request_timeout=timeout).items():
        try:
            limits[resource.name] = int(future.result()["max.message.bytes"].value)
        except KafkaException as error:
            if error.args[0].code() not in MAY_NOT_ASK:
                raise Unavailable("broker", f"topic {resource.name}: {describe(error.args[0])}") from error
            limits[resource.name] = None
    return limits


def _warn_of_unknown(limits: dict[str, int | None]) -> None:
    for name in (name for name, limit in limits.items() if limit is None):
        logger.warning(
            "size limit cannot be read, Kafka's default is taken: grant DescribeConfigs on the topic",
            extra={"topic": name, "max_message_bytes": DEFAULT_MAX_MESSAGE_BYTES},
        )
