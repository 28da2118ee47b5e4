"""Where do records go when there is no Kafka? Into librdkafka's mock cluster, for demonstrations."""

import contextlib
from collections.abc import Iterator, Sequence

from confluent_kafka import KafkaException, Producer

from consumer.errors import Unavailable
from consumer.kafka.client import describe, make

PARTITIONS = 4  # of every topic: the mock cluster's own number
_TIMEOUT = 10.0


@contextlib.contextmanager
def embedded_broker(topics: Sequence[str]) -> Iterator[str]:
    """Run a broker with these topics inside this process while the `with` lasts, and give its address.

    Other processes join it. It is no proof of anything: it forgets all at its end, keeps 5 MiB a partition, cannot be
    asked for size limits, discards the offsets of transactions and shows aborted records; so deliver at_least_once.
    """
    cluster = make(Producer, {"test.mock.num.brokers": 1, "log_level": 0})
    try:
        brokers = cluster.list_topics(timeout=_TIMEOUT).brokers.values()
        for topic in topics:
            cluster.list_topics(topic, timeout=_TIMEOUT)  # to ask for a topic is to create it
    except KafkaException as error:
        raise Unavailable("broker", f"the embedded broker does not start: {describe(error.args[0])}") from error
    yield ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
