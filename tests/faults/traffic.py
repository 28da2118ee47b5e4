"""How do jobs flow steadily while a cell is struck?"""

import threading
import time
from collections.abc import Callable
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tests.faults.jobs import Draft
from tests.rigs.topics import Topics

TRICKLE = 20.0  # jobs a second beyond what was released: a long strike does not run dry
TURN = 0.05
_NOT_SENT = frozenset(
    {
        KafkaError._FATAL,
        KafkaError._PURGE_QUEUE,
        KafkaError._PURGE_INFLIGHT,
        KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    }
)
_SETTINGS = {
    "enable.idempotence": True,
    "linger.ms": 5,
    "log_level": 0,
    "message.timeout.ms": 300_000,  # a broker that comes back takes them
    "topic.metadata.refresh.interval.ms": 1000,  # added partitions are known soon
}


class Traffic:
    """Publishes round robin over the partitions in a thread of its own, inside its `with`: what was released, at up to
    `rate` a second, while no more than `most_waiting` jobs wait for their outcomes.

    librdkafka's idempotent producer may end for good where leaders move (OUT_OF_ORDER_SEQUENCE_NUMBER, seen once while
    brokers were stopped in turn). Another one sends again what it was not told of; what had arrived is two jobs then.
    """

    def __init__(
        self,
        topics: Topics,
        draft: Callable[[int], Draft],
        *,
        outcomes: Callable[[], int],
        rate: float = 1000,
        most_waiting: int = 1500,
    ) -> None:
        self.drafts: dict[bytes, Draft] = {}
        """By value, of all jobs that Kafka has acknowledged. It does not always say where it put them: the topic
        itself does, see tests/faults/offsets.py."""
        self.counts: dict[int, int] = {}
        """How many of them are in each partition."""
        self.partitions = topics.partitions
        self.refused: list[str] = []
        self._topic = topics.jobs
        self._draft = draft
        self._outcomes = outcomes
        self._rate = rate
        self._most_waiting = most_waiting
        self._released = 0
        self._sent = 0
        self._is_over = threading.Event()
        self._is_broken = False
        self._again: list[tuple[Draft, int]] = []
        self._bootstrap_servers = topics.bootstrap_servers
        self._producer = self._new_producer()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._producer.purge()

    @property
    def sent(self) -> int:
        return self._sent

    def release(self, count: int) -> int:
        """So many more may flow at full rate; returns at which number of sent jobs they are used up."""
        self._released = max(self._released, self._sent) + count
        return self._released

    def finish(self, *, within: float = 120) -> int:
        """No more are sent; returns how many there are when all of them are acknowledged, or `refused` tells."""
        self._is_over.set()
        self._thread.join()
        left = self._flush(within)
        while self._is_broken:
            self._send_again()
            left = self._flush(within)
        if left:
            self.refused.append(f"{left} jobs were not acknowledged within {within:g} s")
        return self._sent

    def _run(self) -> None:
        budget, trickle = 0.0, 0.0
        while not self._is_over.wait(TURN):
            budget, trickle = min(self._rate, budget + self._rate * TURN), min(1.0, trickle) + TRICKLE * TURN
            room = min(int(budget), self._most_waiting - (self._sent - self._outcomes()))
            count = min(room, max(self._released - self._sent, int(trickle)))
            sent = self._send(count)
            budget, trickle = budget - sent, trickle - sent
            self._flush(0)
            if self._is_broken:
                self._send_again()

    def _send(self, count: int) -> int:
        """Returns how many of them were sent: an added partition may not be known yet."""
        for number in range(count):
            draft = self._draft(self._sent)
            partition = self._sent % self.partitions
            try:
                self._produce(draft, partition)
            except KafkaException as error:
                if error.args[0].code() not in {KafkaError._UNKNOWN_PARTITION, KafkaError._FATAL}:
                    self.refused.append(str(error))
                return number
            self._sent += 1
        return max(0, count)

    def _produce(self, draft: Draft, partition: int) -> None:
        acknowledged = partial(self._acknowledged, draft, partition)
        self._producer.produce(self._topic, draft.value, partition=partition, on_delivery=acknowledged)

    def _new_producer(self) -> Producer:
        return Producer({"bootstrap.servers": self._bootstrap_servers, **_SETTINGS})

    def _flush(self, seconds: float) -> int:
        """Serve its callbacks; returns how many records wait. A fatal error is raised here once, as a SystemError's
        cause where a report came right behind it."""
        try:
            return self._producer.flush(seconds)
        except (KafkaException, SystemError) as error:
            fatal = error if isinstance(error, KafkaException) else error.__cause__
            if not isinstance(fatal, KafkaException) or not fatal.args[0].fatal():
                raise
            self._is_broken = True
            return len(self._producer)

    def _send_again(self) -> None:
        self._producer.purge()
        self._flush(1)
        self._is_broken, again, self._again = False, self._again, []
        self._producer = self._new_producer()
        for draft, partition in again:
            self._produce(draft, partition)

    def _acknowledged(self, draft: Draft, wanted: int, error: KafkaError | None, record: Message) -> None:
        if error is not None and error.code() in _NOT_SENT:
            self._again.append((draft, wanted))
            return
        if error is not None:
            self.refused.append(str(error))
            return
        self.drafts[draft.value] = draft
        partition = int(record.partition() or 0)
        self.counts[partition] = self.counts.get(partition, 0) + 1


def wait_sent(traffic: Traffic, count: int, over: threading.Event) -> bool:
    """Return when so many jobs were sent; False when the cell is over before."""
    while traffic.sent < count and not over.is_set():
        time.sleep(TURN)
    return not over.is_set()
