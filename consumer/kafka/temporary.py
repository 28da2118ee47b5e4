"""How do the three topics of the settings exist for as long as something is tried out, and no longer?"""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from consumer.errors import SettingsError, Unavailable
from consumer.kafka.client import MISSING_ACL, REFUSED_CREDENTIALS, admin_properties, describe, make, missing_right
from consumer.kafka.topics import DEAD_LETTER_MARGIN, DEFAULT_MAX_MESSAGE_BYTES
from consumer.settings import Settings

logger = logging.getLogger(__name__)

_TIMEOUT = 10.0
_REFUSED = frozenset({KafkaError.TOPIC_ALREADY_EXISTS, KafkaError.POLICY_VIOLATION, *MISSING_ACL, *REFUSED_CREDENTIALS})


@contextlib.contextmanager
def temporary_topics(settings: Settings, *, partitions: int) -> Iterator[None]:
    """Create them with the broker's own replication, and delete them at the end of the `with`.

    Raises SettingsError for one that is there already or may not be made, Unavailable without an answer.
    """
    refusals: list[KafkaError] = []
    admin = make(AdminClient, admin_properties(settings) | {"error_cb": refusals.append})
    largest = {"max.message.bytes": str(DEFAULT_MAX_MESSAGE_BYTES + DEAD_LETTER_MARGIN)}
    names = settings.topics
    configs: dict[str, dict[str, str]] = {names.jobs: {}, names.results: {}, names.dead_letters: largest}
    topics = [NewTopic(name, num_partitions=partitions, config=config) for name, config in configs.items()]
    what = f"topics {', '.join(configs)} cannot be made on {settings.kafka.bootstrap_servers}"
    try:
        _finish(admin.create_topics(topics, request_timeout=_TIMEOUT, operation_timeout=_TIMEOUT))
    except KafkaException as error:
        admin.poll(0)  # serves error_cb: a time-out does not say what is behind it
        raise _verdict(what, [*refusals, error.args[0]]) from error
    try:
        yield
    finally:
        try:
            _finish(admin.delete_topics(list(configs), request_timeout=_TIMEOUT, operation_timeout=_TIMEOUT))
        except KafkaException as error:
            logger.warning("topics %s are left behind: %s", ", ".join(configs), describe(error.args[0]))


def _finish(answers: Mapping[str, Any]) -> None:
    for answer in answers.values():
        answer.result()


def _verdict(what: str, troubles: list[KafkaError]) -> SettingsError | Unavailable:
    for trouble in troubles:
        if trouble.code() in MISSING_ACL:
            return SettingsError(f"{what}: {missing_right(trouble)}")
        if trouble.code() in _REFUSED:
            return SettingsError(f"{what}: {describe(trouble)}")
    return Unavailable("broker", f"{what}: {describe(troubles[0])}")
