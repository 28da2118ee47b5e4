"""Whether a request of ours may still be on its way, although the call that sent it has ended.

librdkafka speaks the older transaction protocol, where a delayed EndTxn can hit the *next* transaction of the same
producer. So after any sign of trouble on the wire the producer is replaced before the next transaction begins: its
successor has a higher epoch, and the broker refuses what comes late.
"""

import json

from confluent_kafka import KafkaError

SLOW_COMMIT = 1.0
_WIRE = frozenset({KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN})
_COUNTERS = ("req_timeouts", "txretries", "disconnects")


class Doubt:
    """Collects the signs for one producer; `reason` is None while all is well. Fed by the producer's callbacks."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.is_up_to_date = True
        """The statistics know of everything that happened before the last transaction ended."""
        self._counted: int | None = None

    def mark(self, reason: str) -> None:
        self.reason = self.reason or reason

    def on_error(self, error: KafkaError) -> None:
        if error.code() in _WIRE:
            self.mark(error.name())

    def on_statistics(self, text: str) -> None:
        brokers = json.loads(text)["brokers"].values()
        counted = {counter: sum(broker.get(counter, 0) for broker in brokers) for counter in _COUNTERS}
        if self._counted is not None and sum(counted.values()) > self._counted:
            self.mark(f"requests were retried or connections lost: {counted}")
        self._counted = sum(counted.values())
        self.is_up_to_date = True

    def on_start(self) -> None:
        """The transactional id is registered. What was retried for that is of no concern, and the next statistics are
        what later ones are held against: else doubt of a busy coordinator would breed doubt, producer after producer.
        """
        self.reason = None
        self._counted = None
        self.is_up_to_date = False

    def on_end(self) -> None:
        """A transaction has ended, and what came before from the producer is served: statistics that come now are
        younger. A request that was sent again after a lost connection takes a tenth of a second and shows nowhere else
        before the next begin."""
        self.is_up_to_date = False

    def on_commit(self, seconds: float) -> None:
        if seconds > SLOW_COMMIT:
            self.mark("a commit took over a second")
