"""Does the delivery end a call that librdkafka never answers?"""

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from consumer.kafka import exactly_once
from consumer.kafka.exactly_once import ExactlyOnce
from consumer.kafka.topics import Topics
from consumer.settings import ImageSettings, Settings

TOPICS = Topics("jobs", "results", "dead-letters", 4, 4, 4, 1_000_000, 1_000_000)


def test_a_call_that_is_never_answered_is_given_up_so_that_the_producer_can_be_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stalled coordinator once left every replica repeating a call whose answer was lost."""
    monkeypatch.setattr(exactly_once, "LONGEST_CALL", 0.05)
    pumped: list[str] = []
    nobody: Any = None
    delivery = ExactlyOnce(
        Settings(images=ImageSettings(allowed_buckets=("parts",))),
        TOPICS,
        nobody,
        slot="a",
        owns=lambda head: True,  # noqa: ARG005
        pump=pumped.append,
        exchange=nobody,
    )
    calls = 0

    def never_answered(_: float) -> None:
        nonlocal calls
        calls += 1
        if calls > 1_000_000:
            pytest.fail("the call is repeated for ever")
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    with pytest.raises(KafkaException):
        delivery._repeat(never_answered)
    assert calls > 1
    assert len(pumped) == calls - 1
