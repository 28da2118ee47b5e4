"""Do topics that are only tried out exist for as long as they are, and no longer?"""

import uuid

import pytest
from confluent_kafka.admin import AdminClient

from consumer.errors import SettingsError, Unavailable
from consumer.kafka.temporary import temporary_topics
from consumer.kafka.topics import DEAD_LETTER_MARGIN, read_topics
from consumer.settings import Settings, load
from tests.rigs.deadline import wait_until
from tests.rigs.kafka import Kafka

pytestmark = pytest.mark.kafka


def settings_on(servers: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    name = f"temporary-{uuid.uuid4().hex[:8]}"
    monkeypatch.setenv("CONSUMER__KAFKA__BOOTSTRAP_SERVERS", servers)
    for key in ("jobs", "results", "dead_letters"):
        monkeypatch.setenv(f"CONSUMER__TOPICS__{key.upper()}", f"{name}.{key}")
    return load(inspects=False)


def test_they_are_there_with_room_for_dead_letters_and_gone_in_the_end(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_on(kafka.bootstrap_servers, monkeypatch)
    with temporary_topics(settings, partitions=4):
        topics = read_topics(settings, timeout=10)
        with pytest.raises(SettingsError, match="TOPIC_ALREADY_EXISTS"), temporary_topics(settings, partitions=4):
            pass
        assert read_topics(settings, timeout=10) == topics  # what was there already is not deleted

    assert topics.job_partitions == 4
    assert topics.max_dead_letter_bytes == topics.max_result_bytes + DEAD_LETTER_MARGIN
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    wait_until(
        lambda: not {topics.jobs, topics.results, topics.dead_letters} & set(admin.list_topics(timeout=10).topics),
        within=10,
        what="the topics are gone",
    )


def test_a_broker_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.kafka.temporary._TIMEOUT", 0.5)
    settings = settings_on("127.0.0.1:1", monkeypatch)

    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"), temporary_topics(settings, partitions=4):
        pass
