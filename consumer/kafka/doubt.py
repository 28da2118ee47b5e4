"""Whether a request of ours may still be on its way, although the call that sent it has ended.

librdkafka speaks the older transaction protocol, where a delayed EndTxn can hit the *next* transaction of the same
producer. So after any sign of trouble on the wire the producer is replaced before the next transaction begins: its
successor has a higher epoch, and the broker refuses what comes late.
"""

import msgspec
from confluent_kafka import KafkaError

SLOW_COMMIT = 1.0
_WIRE = frozenset({KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN})


class _Broker(msgspec.Struct):
    """Not `txretries`: what is retried without one of these was answered, so nothing of it is on its way. A coordinator
    that still writes the markers of the last transaction answers so to the next one, with every producer."""

    source: str = ""
    req_timeouts: int = 0
    disconnects: int = 0


class _Statistics(msgspec.Struct):
    brokers: dict[str, _Broker]


_statistics = msgspec.json.Decoder(_Statistics)


class Doubt:
    """Collects the signs for one producer; `reason` is None while all is well. Fed by the producer's callbacks."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.is_up_to_date = True
        """The statistics know of everything that happened before the last transaction ended."""
        self._counted: dict[str, int] | None = None

    def mark(self, reason: str) -> None:
        self.reason = self.reason or reason

    def on_error(self, error: KafkaError) -> None:
        if error.code() in _WIRE:
            self.mark(error.name())

    def on_statistics(self, text: str) -> None:
        counted = {
            name: broker.req_timeouts + broker.disconnects
            for name, broker in _statistics.decode(text).brokers.items()
            if broker.source != "configured"  # they make way for those that are learned
        }
        if self._counted is not None:
            risen = {name for name, count in counted.items() if count > self._counted.get(name, 0)}
            gone = self._counted.keys() - counted.keys()  # and what they had counted with them
            if risen or gone:
                self.mark(f"requests or connections were lost: {', '.join(sorted(risen | gone))}")
        self._counted = counted
        self.is_up_to_date = True

    def on_start(self) -> None:
        """The transactional id is registered. What was lost on the way there is of no concern, and the next statistics
        are what later ones are held against: else doubt would breed doubt, producer after producer."""
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
