"""What does an answer about rights say of them?"""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AclOperation

from consumer.errors import Unavailable
from consumer.kafka.rights import _rights


def answered(operations: list[AclOperation] | None) -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_result(SimpleNamespace(authorized_operations=operations))
    return future


def refused(code: int) -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_exception(KafkaException(KafkaError(code)))
    return future


def test_what_is_granted_is_named_and_a_refusal_is_none_at_all() -> None:
    assert _rights("topic x", answered([AclOperation.READ, AclOperation.DESCRIBE])) == frozenset({"READ", "DESCRIBE"})
    assert _rights("topic x", refused(KafkaError.TOPIC_AUTHORIZATION_FAILED)) == frozenset()


@pytest.mark.parametrize("code", [KafkaError.UNSUPPORTED_VERSION, KafkaError._UNSUPPORTED_FEATURE])
def test_a_broker_that_does_not_know_the_question_says_nothing(code: int) -> None:
    assert _rights("topic x", refused(code)) is None
    assert _rights("topic x", answered(None)) is None
    assert _rights("topic x", answered([])) is None


def test_no_answer_may_come_later() -> None:
    with pytest.raises(Unavailable, match="topic x: _TIMED_OUT"):
        _rights("topic x", refused(KafkaError._TIMED_OUT))
