"""librdkafka's own mock cluster: a broker inside this process."""

from collections.abc import Iterator

import pytest
from confluent_kafka import Producer


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The mock cluster lives as long as the client that made it."""
    owner = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    yield ",".join(f"{broker.host}:{broker.port}" for broker in owner.list_topics(timeout=10).brokers.values())
    owner.purge()
