"""Is every sign of trouble on the wire seen, and nothing else taken for one?"""

import json
from typing import Any

import pytest
from confluent_kafka import KafkaError

from consumer.kafka.doubt import SLOW_COMMIT, Doubt


def statistics(*brokers: dict[str, Any]) -> str:
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


@pytest.mark.parametrize("counter", ["req_timeouts", "disconnects"])
def test_a_counter_that_rises_on_any_broker_is_a_reason(doubt: Doubt, counter: str) -> None:
    doubt.on_statistics(statistics({counter: 0, "tx": 5}, {counter: 2}))
    assert doubt.reason is None
    doubt.on_statistics(statistics({counter: 0, "tx": 9}, {counter: 3}))
    assert doubt.reason == "requests or connections were lost: b1"


def test_a_request_that_was_answered_and_asked_again_is_none(doubt: Doubt) -> None:
    """What is retried without a lost connection or a time-out was answered."""
    doubt.on_statistics(statistics({"txretries": 0}))
    doubt.on_statistics(statistics({"txretries": 1}))
    assert doubt.reason is None


def test_a_counter_that_stands_is_none(doubt: Doubt) -> None:
    doubt.on_statistics(statistics({"disconnects": 3}))
    doubt.on_statistics(statistics({"disconnects": 3}))
    assert doubt.reason is None


def test_a_broker_that_is_gone_with_its_counters_is_a_reason(doubt: Doubt) -> None:
    doubt.on_statistics(statistics({}, {"disconnects": 3}))
    doubt.on_statistics(statistics({}))
    assert doubt.reason == "requests or connections were lost: b1"


def test_a_broker_that_is_new_is_none_unless_it_was_lost_already(doubt: Doubt) -> None:
    doubt.on_statistics(statistics({}))
    doubt.on_statistics(statistics({}, {"disconnects": 0}))
    assert doubt.reason is None
    doubt.on_statistics(statistics({}, {"disconnects": 0}, {"disconnects": 1}))
    assert doubt.reason is not None


def test_an_address_of_the_settings_makes_way_for_the_broker_behind_it(doubt: Doubt) -> None:
    doubt.on_statistics(statistics({}, {"source": "configured", "disconnects": 0}))
    doubt.on_statistics(statistics({}))
    assert doubt.reason is None


def test_what_was_lost_before_the_start_is_none(doubt: Doubt) -> None:
    doubt.on_statistics(statistics({"disconnects": 3}))
    doubt.on_statistics(statistics({"disconnects": 5}))
    doubt.on_start()
    assert (doubt.reason, doubt.is_up_to_date) == (None, False)

    doubt.on_statistics(statistics({"disconnects": 6}))
    assert (doubt.reason, doubt.is_up_to_date) == (None, True)
    doubt.on_statistics(statistics({"disconnects": 7}))
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
