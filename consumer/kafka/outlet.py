"""What became of each outcome that was handed to a producer."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as KafkaMessage

from consumer.kafka.topics import Topics
from consumer.ledger import Entry
from consumer.messages import Message

Head = Entry[int, Message]

# The broker or the client refuses the record itself; everything else is the world's fault.
REFUSALS = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
    }
)

REFUSALS_BEFORE_SINGLE = 2


def let_go(producer: Producer) -> None:
    """Not `close()`, which waits for the broker: unsent records are purged, and who has the producer may forget it."""
    producer.purge()
    with suppress(KafkaException):  # a fatal error, which is why it goes
        producer.poll(0)  # what was purged is told, and forgotten


class Outlet:
    """One batch of heads on its way through one producer. Output partition = input partition modulo the topic's
    count as it was at start, so that outcomes of one input partition stay in one partition, in order.

    It does not hold the producer, whose records hold it: one that was let go with records on their way would never end.
    """

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self.waiting = 0
        self.failed: dict[Head, KafkaError] = {}
        self._refused_jobs: dict[Head, list[int]] = {}

    def send(self, producer: Producer, heads: Sequence[Head]) -> None:
        """Hand over all outcomes in offset order; reports come in while the producer is polled."""
        for head in heads:
            for index, message in enumerate(head.outcomes):
                self._send(producer, head, index, message)

    def _send(self, producer: Producer, head: Head, index: int, message: Message) -> None:
        topic, partitions = self._topics.results, self._topics.result_partitions
        if message.reason is not None:
            topic, partitions = self._topics.dead_letters, self._topics.dead_letter_partitions
        produce = partial(
            producer.produce,
            topic,
            value=message.value,
            key=message.key,
            partition=head.partition % partitions,
            headers=list(message.headers),
            on_delivery=partial(self._report, head, index),
        )
        self.waiting += 1
        while True:
            try:
                return produce()
            except BufferError:  # the queue is full; it empties by sending, or by message.timeout.ms
                producer.poll(0.05)
            except KafkaException as error:  # refused before it was sent
                return self._report(head, index, error.args[0], None)

    def _report(self, head: Head, index: int, error: KafkaError | None, _: KafkaMessage | None) -> None:
        self.waiting -= 1
        if error is None:
            return
        self.failed.setdefault(head, error)
        if error.code() in REFUSALS:
            self.failed[head] = error  # says more than what its siblings in other requests met after it
            self._refused_jobs.setdefault(head, []).append(index)

    @property
    def refused(self) -> list[Head]:
        """Heads with an outcome that was refused; the neighbours in its request are reported alike."""
        return list(self._refused_jobs)

    def refused_job(self, head: Head) -> int:
        """The job at fault in a refused head: the largest of its refused outcomes, those of one request are reported
        alike. Raises KeyError for a head that was not refused."""
        return max(self._refused_jobs[head], key=lambda index: head.outcomes[index].size)


class Isolation:
    """Finds a refused record among its neighbours, which are reported alike: after two refusals in a row the heads
    that were refused go first and one by one, and the one that is refused alone is at fault."""

    def __init__(self) -> None:
        self._refusals = 0
        self._suspects: dict[int, int] = {}  # per partition the last offset that was refused

    def select(self, heads: Sequence[Head]) -> Sequence[Head]:
        for head in heads:
            if head.offset <= self._suspects.get(head.partition, -1):
                return [head]
        return heads

    def succeeded(self) -> None:
        self._refusals = 0

    def culprit(self, heads: Sequence[Head], outlet: Outlet) -> Head | None:
        """The head at fault, once it is known."""
        refused = outlet.refused
        if not refused:
            return None
        if len(heads) == 1:
            return refused[0]
        self._refusals += 1
        if self._refusals >= REFUSALS_BEFORE_SINGLE:
            self._suspects |= {head.partition: head.offset for head in heads if head in refused}
        return None
