"""What may we do at the broker: with each topic, with the group, with the transactional id?"""

import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future, wait
from typing import Any, Literal

from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient

from consumer.errors import Unavailable
from consumer.kafka.client import MISSING_ACL, admin_properties, describe, make, producer_properties
from consumer.kafka.group import ask_group
from consumer.retry import delays
from consumer.settings import Settings

Rights = frozenset[str]
"""Operations by Kafka's own names: READ, WRITE, DESCRIBE, …; None, where it is used, says that the broker did not tell
them (it is older than 2.3, or has no authorizer that knows)."""

Trial = Literal["usable", "refused", "taken"]
"""`taken`: the broker allows any time-out, so the id is registered now, and an owner that it had is fenced."""

# 23 days. Brokers allow 15 minutes unless told otherwise, and refuse more before they do anything with the id.
_IMPOSSIBLE_TIMEOUT_MS = 2_000_000_000
_NO_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_EXCEPTION})  # there is none, or can be none
_UNKNOWN_QUESTION = frozenset({KafkaError.UNSUPPORTED_VERSION, KafkaError._UNSUPPORTED_FEATURE})


def topic_rights(settings: Settings, names: list[str], *, timeout: float) -> Mapping[str, Rights | None]:
    """What we may do with each topic that exists; nothing where it may not even be seen. Raises Unavailable."""
    return ask_topic_rights(make(AdminClient, admin_properties(settings)), names, timeout=timeout)


def ask_topic_rights(admin: AdminClient, names: list[str], *, timeout: float) -> Mapping[str, Rights | None]:
    """As `topic_rights`, with a client that is there."""
    futures = admin.describe_topics(TopicCollection(names), include_authorized_operations=True, request_timeout=timeout)
    there = {name: future for name, future in futures.items() if not _is_unknown(future)}
    return {name: _rights(f"topic {name}", future) for name, future in there.items()}


def group_rights(settings: Settings, *, timeout: float) -> Rights | None:
    """What we may do with `kafka.group_id`. Raises Unavailable."""
    group = settings.kafka.group_id
    admin = make(AdminClient, admin_properties(settings))
    end = time.monotonic() + timeout
    for delay in delays():
        question = ask_group(admin, group, include_authorized_operations=True)
        wait([question], end - time.monotonic())
        if not question.done():
            raise Unavailable("broker", f"group {group}: no answer within {timeout:g} s")
        try:
            return _rights(f"group {group}", question)
        except Unavailable:  # a cluster's first group: the coordinator is being made
            if time.monotonic() + delay > end:
                raise
        time.sleep(delay)
    raise AssertionError("delays() has no end")


def try_transactional_id(settings: Settings, transactional_id: str, *, timeout: float) -> Trial:
    """Whether a producer may register this id. Raises Unavailable.

    It asks with a transaction time-out that brokers do not allow: rights are looked at before it, the id's owner after
    it. So nothing is registered and nobody is fenced, unless the answer is `taken`.
    """
    impossible = {"transaction.timeout.ms": _IMPOSSIBLE_TIMEOUT_MS, "transactional.id": transactional_id}
    silent = logging.Logger("librdkafka.rights", logging.CRITICAL + 1)  # noqa: LOG001  # else: FATAL, as is meant
    producer = make(Producer, producer_properties(settings) | impossible | {"logger": silent})
    try:
        producer.init_transactions(timeout)
    except KafkaException as error:
        cause: KafkaError = error.args[0]
        if cause.code() == KafkaError.INVALID_TRANSACTION_TIMEOUT:
            return "usable"
        if cause.code() in MISSING_ACL:
            return "refused"
        raise Unavailable("broker", f"transactional id {transactional_id}: {describe(cause)}") from error
    return "taken"


def _is_unknown(future: "Future[Any]") -> bool:
    error = future.exception()
    return isinstance(error, KafkaException) and error.args[0].code() in _NO_TOPIC


def _rights(what: str, future: "Future[Any]") -> Rights | None:
    try:
        operations = future.result().authorized_operations
    except KafkaException as error:
        cause: KafkaError = error.args[0]
        if cause.code() in MISSING_ACL:
            return frozenset()
        if cause.code() in _UNKNOWN_QUESTION:
            return None
        raise Unavailable("broker", f"{what}: {describe(cause)}") from error
    # What may be seen may at least be described: an empty answer is none.
    return frozenset(operation.name for operation in operations) if operations else None
