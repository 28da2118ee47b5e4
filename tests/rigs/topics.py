"""Which topics does a test use, and where did the jobs that it published land?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial

from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.rigs.outcomes import Source

_SECONDS = 30
KAFKA_DEFAULT_BYTES = 1_048_588
DEAD_LETTER_MARGIN = 64 * 1024  # a dead letter holds the whole job and the headers that say what went wrong


@dataclass(frozen=True)
class Topics:
    """Three topics of one test, and the group that its consumers are members of."""

    bootstrap_servers: str
    jobs: str
    results: str
    dead_letters: str
    group: str
    partitions: int

    @property
    def outcomes(self) -> tuple[str, str]:
        return self.results, self.dead_letters

    @property
    def settings(self) -> dict[str, dict[str, str]]:
        """The sections `kafka` and `topics` of the consumer's settings."""
        return {
            "kafka": {"bootstrap_servers": self.bootstrap_servers, "group_id": self.group, "start": "earliest"},
            "topics": {"jobs": self.jobs, "results": self.results, "dead_letters": self.dead_letters},
        }

    def publish(
        self,
        values: Iterable[bytes],
        *,
        partition: int | None = None,
        key: bytes | None = None,
        headers: Mapping[str, bytes] | None = None,
    ) -> list[Source]:
        """Publish jobs in this order, round robin where no partition is given; return where each one is."""
        sources: dict[int, Source] = {}
        refused: list[KafkaError] = []
        producer = _producer(self.bootstrap_servers)

        def note(error: KafkaError | None, record: Message, *, number: int) -> None:
            if error is not None:
                refused.append(error)
                return
            sources[number] = Source(self.jobs, _known(record.partition()), _known(record.offset()))

        for number, value in enumerate(values):
            producer.produce(
                self.jobs,
                value,
                key,
                partition=number % self.partitions if partition is None else partition,
                headers=dict(headers or {}),
                on_delivery=partial(note, number=number),
            )
            producer.poll(0)
        left = producer.flush(_SECONDS)
        if left or refused:
            raise RuntimeError(f"{left} jobs unsent, {len(refused)} refused: {refused[:1]}")
        return [sources[number] for number in sorted(sources)]


@cache
def _producer(bootstrap_servers: str) -> Producer:
    """One for all publishing: a new idempotent one takes half a second to be let in."""
    settings = {"bootstrap.servers": bootstrap_servers, "enable.idempotence": True, "linger.ms": 5, "log_level": 0}
    return Producer(settings)


def create_topics(
    bootstrap_servers: str,
    name: str,
    *,
    partitions: int,
    settings: Mapping[str, str] | None = None,
    replication: int = -1,
) -> Topics:
    """Create `{name}.jobs`, `.results` and `.dead-letters`, each with `partitions` and the same topic settings.

    Dead letters may be larger than jobs, as the consumer demands. `replication` is the broker's default if not given.
    """
    topics = Topics(
        bootstrap_servers=bootstrap_servers,
        jobs=f"{name}.jobs",
        results=f"{name}.results",
        dead_letters=f"{name}.dead-letters",
        group=f"{name}.group",
        partitions=partitions,
    )
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    given = dict(settings or {})
    room = {"max.message.bytes": str(int(given.get("max.message.bytes", KAFKA_DEFAULT_BYTES)) + DEAD_LETTER_MARGIN)}
    configs = {topics.jobs: given, topics.results: given, topics.dead_letters: given | room}
    wanted = [NewTopic(topic, partitions, replication, config=config) for topic, config in configs.items()]
    for created in admin.create_topics(wanted, operation_timeout=_SECONDS).values():
        created.result(_SECONDS)
    return topics


def delete_topics(topics: Topics) -> None:
    """Delete them: a Kafka that was given to us keeps nothing of a test."""
    admin = AdminClient({"bootstrap.servers": topics.bootstrap_servers})
    for deleted in admin.delete_topics([topics.jobs, *topics.outcomes], operation_timeout=_SECONDS).values():
        deleted.result(_SECONDS)


def _known(value: int | None) -> int:
    if value is None:
        raise ValueError("Kafka acknowledged a record without saying where it is")
    return value
