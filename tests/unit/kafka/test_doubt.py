"""Is every sign of trouble on the wire seen, and nothing else taken for one?"""

import json

import pytest
from confluent_kafka import KafkaError

from consumer.kafka.doubt import SLOW_COMMIT, Doubt


def statistics(*brokers: dict[str, int]) -> str:
    return json.dumps({"brokers": {f"b{number}": broker for number, broker in enumerate(brokers)}})


@pytest.fixture
def doubt() -> Doubt:
    return Doubt()


@pytest.mark.parametrize("code", [KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN])
def test_trouble_on_the_wire_is_a_reason(doubt: Doubt, code: int) -> None:
    doubt.on_error(KafkaError(code))

    assert doubt.reason == KafkaError(code).name()


def test_other_errors_are_none(doubt: Doubt) -> None:
    doubt.on_error(KafkaError(KafkaError._PARTITION_EOF))

    assert doubt.reason is None


@pytest.mark.parametrize("counter", ["req_timeouts", "txretries", "disconnects"])
def test_a_counter_that_rises_on_any_broker_is_a_reason(doubt: Doubt, counter: str) -> None:
    doubt.on_statistics(statistics({counter: 0, "tx": 5}, {counter: 0}))
    assert doubt.reason is None
    doubt.on_statistics(statistics({counter: 0, "tx": 9}, {counter: 1}))
    assert str(doubt.reason).startswith("requests were retried or connections lost")
    assert f"'{counter}': 1" in str(doubt.reason)


def test_a_counter_that_stands_is_none(doubt: Doubt) -> None:
    doubt.on_statistics(statistics({"txretries": 3}))
    doubt.reason = None  # a new transaction
    doubt.on_statistics(statistics({"txretries": 3}))
    assert doubt.reason is None

    doubt.on_statistics(statistics({}))  # the broker was forgotten
    doubt.on_statistics(statistics({"txretries": 1}))
    assert doubt.reason is not None


def test_what_was_retried_before_the_start_is_none(doubt: Doubt) -> None:
    doubt.on_statistics(statistics({"txretries": 3}))
    doubt.on_statistics(statistics({"txretries": 5}))
    doubt.on_start()
    assert (doubt.reason, doubt.is_up_to_date) == (None, False)

    doubt.on_statistics(statistics({"txretries": 6}))
    assert (doubt.reason, doubt.is_up_to_date) == (None, True)
    doubt.on_statistics(statistics({"txretries": 7}))
    assert doubt.reason is not None


def test_a_slow_commit_is_a_reason(doubt: Doubt) -> None:
    doubt.on_commit(SLOW_COMMIT)
    assert doubt.reason is None
    doubt.on_commit(SLOW_COMMIT + 0.1)
    assert doubt.reason == "a commit took over a second"


def test_the_first_reason_stays(doubt: Doubt) -> None:
    doubt.mark("first")
    doubt.mark("second")

    assert doubt.reason == "first"
