"""What do tools see of a topic?"""

import uuid
from datetime import UTC, datetime

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.errors import SettingsError, Unavailable
from consumer.kafka.reader import Reader
from consumer.settings import Settings, load
from tests.conftest import CreateTopics
from tests.rigs.topics import Topics

pytestmark = pytest.mark.kafka


def settings_of(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("CONSUMER__KAFKA__BOOTSTRAP_SERVERS", topics.bootstrap_servers)
    return load(inspects=False)


def transaction(topics: Topics, values: list[bytes], *, commits: bool) -> None:
    producer = Producer(
        {"bootstrap.servers": topics.bootstrap_servers, "transactional.id": uuid.uuid4().hex, "log_level": 0}
    )
    producer.init_transactions(10)
    producer.begin_transaction()
    for value in values:
        producer.produce(topics.results, value, b"key", partition=0, headers=[("name", b"value"), ("none", None)])
    producer.flush(10)
    if commits:
        producer.commit_transaction(10)
    else:
        producer.abort_transaction(10)


def values(reader: Reader) -> list[bytes | None]:
    return [record.value for record in reader.read_to_end()]


def test_only_what_was_committed_is_read_and_the_end_is_found_behind_markers(
    topics: CreateTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = topics(partitions=2)
    transaction(names, [b"1", b"2"], commits=True)
    transaction(names, [b"aborted"], commits=False)
    settings = settings_of(names, monkeypatch)

    with Reader(settings, [names.results, names.dead_letters]) as reader:
        records = list(reader.read_to_end())
        assert reader.is_caught_up
        transaction(names, [b"3"], commits=True)  # behind the end that was seen at the opening
        assert list(reader.read_to_end()) == []

    assert [(record.partition, record.offset, record.value) for record in records] == [(0, 0, b"1"), (0, 1, b"2")]
    assert records[0].key == b"key"
    assert records[0].headers == (("name", b"value"), ("none", None))
    assert abs(records[0].timestamp_ms / 1000 - datetime.now(UTC).timestamp()) < 3600


def test_it_begins_at_the_end_at_an_offset_or_at_a_time(topics: CreateTopics, monkeypatch: pytest.MonkeyPatch) -> None:
    names = topics(partitions=2)
    producer = Producer({"bootstrap.servers": names.bootstrap_servers})
    for number in range(4):
        producer.produce(names.results, b"%d" % number, partition=0, timestamp=1_000_000 + number)
    producer.flush(10)
    settings = settings_of(names, monkeypatch)
    place = (names.results, 0)

    with Reader(settings, [names.results], start={place: 3}) as at_three:
        assert values(at_three) == [b"3"]
    with Reader(settings, [names.results], start={place: 99}) as beyond:
        assert values(beyond) == []
    with Reader(settings, [names.results], start=datetime.fromtimestamp(1000.002, UTC)) as since:
        assert values(since) == [b"2", b"3"]
    with Reader(settings, [names.results], start=datetime.now(UTC)) as since_now:
        assert since_now.is_caught_up
    with Reader(settings, [names.results], start="latest") as latest:
        assert latest.is_caught_up
        assert latest.ends[place] == 4
        producer.produce(names.results, b"new", partition=1)
        producer.flush(10)
        assert poll_one(latest) == b"new"


def poll_one(reader: Reader) -> bytes | None:
    for _ in range(100):
        for record in reader.poll(0.2):
            return record.value
    raise TimeoutError("nothing came")


def test_a_topic_that_does_not_exist_is_named(topics: CreateTopics, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(topics(partitions=1), monkeypatch)

    with pytest.raises(SettingsError, match="topic nowhere does not exist on "):
        Reader(settings, ["nowhere"])


def test_a_broker_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUMER__KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")

    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 does not answer"):
        Reader(load(inspects=False), ["jobs"], timeout=0.3)


def test_retention_that_passed_the_position_is_no_error(topics: CreateTopics, monkeypatch: pytest.MonkeyPatch) -> None:
    names = topics(partitions=1)
    names.publish([b"1", b"2", b"3"])
    settings = settings_of(names, monkeypatch)
    delete(names, below=2)

    with Reader(settings, [names.jobs], start={(names.jobs, 0): 0}) as reader:
        assert values(reader) == [b"3"]


def delete(topics: Topics, *, below: int) -> None:
    admin = AdminClient({"bootstrap.servers": topics.bootstrap_servers})
    for done in admin.delete_records([TopicPartition(topics.jobs, 0, below)]).values():
        done.result(10)
