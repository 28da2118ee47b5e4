"""Does the publisher of the fault matrix outlive its own producer's end?"""

from confluent_kafka import KafkaError

from tests.faults.jobs import Draft
from tests.faults.traffic import Traffic
from tests.rigs.deadline import wait_until
from tests.rigs.mock_errors import Api, mock_cluster
from tests.rigs.topics import Topics

COUNT = 50


def test_what_a_broken_producer_was_not_told_of_is_sent_again() -> None:
    with mock_cluster() as brokers:
        topics = Topics(brokers.bootstrap_servers, "jobs", "results", "dead-letters", "group", 2)
        brokers.create(topics.jobs, topics.partitions)
        traffic = Traffic(topics, lambda number: Draft(f"{number}".encode(), None, ""), outcomes=lambda: 0)
        with traffic:
            traffic.release(COUNT)
            wait_until(lambda: len(traffic.drafts) >= COUNT, within=30, what="the first jobs are acknowledged")
            broken = traffic._producer
            brokers.fail(Api.Produce, [KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER] * 4)
            traffic.release(COUNT)
            wait_until(lambda: traffic._producer is not broken, within=30, what="another producer")
            sent = traffic.finish()

    assert sent >= 2 * COUNT
    assert len(traffic.drafts) == sent
    assert traffic.refused == []
