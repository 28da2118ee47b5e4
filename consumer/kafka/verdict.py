"""What an error of the transactional producer asks us to do."""

from enum import Enum

from confluent_kafka import KafkaError

_TIME_OUTS = frozenset({KafkaError._TIMED_OUT, KafkaError._TIMED_OUT_QUEUE, KafkaError._IN_PROGRESS})
FENCES = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})


class Verdict(Enum):
    """The answer to one failed call."""

    REPEAT = "the same call again; above all no abort after a commit that timed out"
    ABORT = "abort the transaction; the heads stay and are delivered again with fresh metadata"
    REPLACE = "nothing can be told of this producer any more: a new one, then ask what was committed"
    FENCED = "another process has our transactional id: end"


def judge(error: KafkaError, *, open_for: float, transaction_timeout: float) -> Verdict:
    """`open_for`: seconds since the transaction began. librdkafka reports a coordinator's time-out and another
    producer with the same id alike; only a transaction that was open for long can have timed out."""
    if error.txn_requires_abort():
        return Verdict.ABORT
    if error.code() in FENCES:
        return Verdict.REPLACE if open_for > transaction_timeout / 2 else Verdict.FENCED
    if error.fatal():
        return Verdict.REPLACE
    if error.retriable() or error.code() in _TIME_OUTS:
        return Verdict.REPEAT
    return Verdict.REPLACE
