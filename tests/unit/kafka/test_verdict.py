"""Is every error of a transactional call answered as it must be?"""

import pytest
from confluent_kafka import KafkaError

from consumer.kafka.verdict import Verdict, judge

TIMEOUT = 12.0


def verdict(
    code: int, *, open_for: float = 0.1, fatal: bool = False, retriable: bool = False, abort: bool = False
) -> Verdict:
    error = KafkaError(code, "as the broker put it", fatal, retriable, abort)
    return judge(error, open_for=open_for, transaction_timeout=TIMEOUT)


def test_a_retriable_error_means_the_same_call_again() -> None:
    assert verdict(KafkaError.COORDINATOR_LOAD_IN_PROGRESS, retriable=True) is Verdict.REPEAT


@pytest.mark.parametrize("code", [KafkaError._TIMED_OUT, KafkaError._TIMED_OUT_QUEUE, KafkaError._IN_PROGRESS])
def test_a_call_that_timed_out_is_repeated_and_never_aborted(code: int) -> None:
    assert verdict(code) is Verdict.REPEAT
    assert verdict(code, open_for=TIMEOUT * 2) is Verdict.REPEAT


@pytest.mark.parametrize("code", [KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError._TIMED_OUT])
def test_what_asks_for_an_abort_gets_one(code: int) -> None:
    assert verdict(code, abort=True) is Verdict.ABORT
    assert verdict(code, abort=True, retriable=True) is Verdict.ABORT


@pytest.mark.parametrize("code", [KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH])
@pytest.mark.parametrize("fatal", [True, False])
def test_a_fence_on_a_young_transaction_is_another_process_and_on_an_old_one_the_time_out(
    code: int, *, fatal: bool
) -> None:
    assert verdict(code, fatal=fatal, open_for=TIMEOUT / 2) is Verdict.FENCED
    assert verdict(code, fatal=fatal, open_for=TIMEOUT / 2 + 0.1) is Verdict.REPLACE


def test_what_is_fatal_is_replaced_even_when_it_claims_to_be_retriable() -> None:
    assert verdict(KafkaError._FATAL, fatal=True) is Verdict.REPLACE
    assert verdict(KafkaError._TIMED_OUT, fatal=True, retriable=True) is Verdict.REPLACE


@pytest.mark.parametrize("code", [KafkaError._STATE, KafkaError.UNKNOWN, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER])
def test_what_is_not_classified_is_in_doubt(code: int) -> None:
    assert verdict(code) is Verdict.REPLACE
