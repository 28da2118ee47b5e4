"""Is every record acknowledged, or reported with the reason why it was not?

The producer is librdkafka's own, on its mock cluster.
"""

import threading
from collections import Counter
from typing import Any

import pytest
from confluent_kafka import KafkaError, Producer

from consumer.errors import SettingsError, Unavailable
from consumer.kafka.publisher import Acknowledged, Publisher, Refused, Report
from consumer.settings import Settings
from tests.rigs.mock_errors import Api, mock_cluster

JAVA = {  # what Apache Kafka's own tests say of its murmur2
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}
PARTITIONS = 4  # the mock cluster's default


def settings_for(servers: str, **extra: Any) -> Settings:
    kafka = {"bootstrap_servers": servers, "extra": extra}
    return Settings.model_validate({"kafka": kafka, "images": {"allowed_buckets": ["parts"]}})


def test_records_without_a_key_are_dealt_out_evenly_each_with_its_place(cluster: str) -> None:
    reports: list[Report] = []
    with Publisher(settings_for(cluster), topic="even") as publisher:
        for number in range(40):
            publisher.send(b"%d" % number, on_done=reports.append)
        assert publisher.flush() == 0

    places = [(report.partition, report.offset) for report in reports if isinstance(report, Acknowledged)]
    assert sorted(places) == [(partition, offset) for partition in range(PARTITIONS) for offset in range(10)]


def test_a_key_has_the_partition_that_javas_producers_choose(cluster: str) -> None:
    chosen: dict[bytes, int] = {}
    with Publisher(settings_for(cluster), topic="keyed") as publisher:
        for key in JAVA:

            def note(report: Report, key: bytes = key) -> None:
                assert isinstance(report, Acknowledged)
                chosen[key] = report.partition

            publisher.send(b"x", key, on_done=note)
        publisher.flush()

    assert chosen == {key: (hashed & 0x7FFFFFFF) % PARTITIONS for key, hashed in JAVA.items()}
    assert len(set(chosen.values())) > 1


def test_a_record_over_the_topics_limit_costs_no_other_one(cluster: str) -> None:
    reports: list[Report] = []
    with Publisher(settings_for(cluster), topic="sized") as publisher:
        publisher.max_bytes = 1000
        for size in (10, 2000, 10):
            publisher.send(bytes(size), headers=(("a", b"b"),), on_done=reports.append)
        publisher.flush()

    refused = [report for report in reports if isinstance(report, Refused)]
    assert refused == [Refused("it has 2140 bytes, limit 1000 (max.message.bytes of sized)", is_at_fault=True)]
    assert len(reports) == 3


@pytest.mark.thorough
def test_a_record_that_librdkafka_refuses_is_reported_as_its_own_fault(cluster: str) -> None:
    reports: list[Report] = []
    with Publisher(settings_for(cluster, **{"message.max.bytes": 5000}), topic="refused") as publisher:
        for size in (10, 9000, 10):
            publisher.send(bytes(size), on_done=reports.append)
        publisher.flush()

    assert [report.is_at_fault for report in reports if isinstance(report, Refused)] == [True]
    assert len(reports) == 3


def test_a_full_queue_makes_the_caller_wait_and_nothing_is_dropped(cluster: str) -> None:
    reports: Counter[type] = Counter()
    most = 0
    with Publisher(settings_for(cluster, **{"queue.buffering.max.messages": 10}), topic="full") as publisher:
        for _ in range(500):
            publisher.send(b"x", on_done=lambda report: reports.update([type(report)]))
            most = max(most, publisher.waiting)
        publisher.flush()

    assert reports == {Acknowledged: 500}
    assert most <= 10


def test_a_record_larger_than_the_whole_queue_is_refused_at_once(cluster: str) -> None:
    reports: list[Report] = []
    with Publisher(settings_for(cluster, **{"queue.buffering.max.kbytes": 1}), topic="larger") as publisher:
        publisher.send(bytes(5000), on_done=reports.append)

    assert reports == [Refused("it is larger than the producer's whole queue", is_at_fault=True)]


@pytest.mark.thorough
def test_records_that_a_vanished_broker_did_not_acknowledge_are_reported() -> None:
    reports: list[Report] = []
    owner, servers = start_cluster()
    with Publisher(settings_for(servers, **{"message.timeout.ms": 300}), topic="gone") as publisher:
        del owner
        for _ in range(3):
            publisher.send(b"x", on_done=reports.append)
        assert publisher.flush() == 0

    assert len(reports) == 3
    assert all(isinstance(report, Refused) and not report.is_at_fault for report in reports)


def test_once_it_stops_nothing_is_waited_for_and_all_is_reported() -> None:
    reports: list[Report] = []
    stopping = threading.Event()
    owner, servers = start_cluster()
    settings = settings_for(servers, **{"queue.buffering.max.messages": 2})
    with Publisher(settings, topic="stopped", stopping=stopping) as publisher:
        del owner
        stopping.set()
        for _ in range(5):
            publisher.send(b"x", on_done=reports.append)
        assert publisher.flush() == 2
        publisher.give_up()

    assert len(reports) == 5
    assert all(isinstance(report, Refused) and "interrupted" in report.reason for report in reports)


def test_records_of_a_producer_that_may_not_write_any_more_are_reported_with_the_reason() -> None:
    """A producer that is refused its id sends nothing any more: librdkafka calls that fatal."""
    reports: list[Report] = []
    with mock_cluster() as cluster:
        cluster.create("jobs", 1)
        cluster.fail(Api.InitProducerId, [KafkaError.CLUSTER_AUTHORIZATION_FAILED] * 10)
        with Publisher(settings_for(cluster.bootstrap_servers), topic="jobs") as publisher:
            for _ in range(3):
                publisher.send(b"x", on_done=reports.append)
            assert publisher.flush() == 0

    assert len(reports) == 3
    assert {type(report) for report in reports} == {Refused}
    assert all("CLUSTER_AUTHORIZATION_FAILED" in str(report) for report in reports), reports


@pytest.mark.parametrize("how", ["flush", "poll"])
def test_a_record_that_ends_its_producer_is_reported_with_the_reason(how: str) -> None:
    """`flush` raises SystemError here most of the time: the report comes in the call that raises the fatal error."""
    for _ in range(5):
        reports: list[Report] = []
        with mock_cluster() as cluster:
            cluster.create("jobs", 1)
            cluster.fail(Api.Produce, [KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER] * 10)
            with Publisher(settings_for(cluster.bootstrap_servers), topic="jobs") as publisher:
                publisher.send(b"x", on_done=reports.append)
                while publisher.waiting:
                    getattr(publisher, how)(1)
                publisher.send(b"y", on_done=reports.append)
                publisher.flush()

        assert len(reports) == 2
        assert all("OUT_OF_ORDER_SEQUENCE_NUMBER" in str(report) or "_FATAL" in str(report) for report in reports), (
            reports
        )


def test_a_broker_that_does_not_answer_is_named() -> None:
    with pytest.raises(Unavailable, match=r"kafka broker 127\.0\.0\.1:1 does not answer: .*refused"):
        Publisher(settings_for("127.0.0.1:1"), timeout=0.5)


@pytest.mark.parametrize("name", ["message.timeout.ms", "delivery.timeout.ms"])
@pytest.mark.parametrize("endless", [0, "0"])
def test_a_record_that_would_be_waited_for_without_end_is_refused(cluster: str, name: str, endless: object) -> None:
    with pytest.raises(SettingsError, match=rf"kafka\.extra\.{name}: 0 waits without end"):
        Publisher(settings_for(cluster, **{name: endless}), topic="endless")


def start_cluster() -> tuple[Producer, str]:
    """A cluster that is gone with its owner."""
    owner = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    brokers = owner.list_topics(timeout=10).brokers.values()
    return owner, ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
