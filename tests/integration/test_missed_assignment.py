"""What becomes of partitions that a member was given by an answer which never came?

With KIP-848 the broker says once what a member is to have, in the answer to a heartbeat.
"""

import pytest

from consumer.kafka.group import GroupReader
from tests.conftest import CreateTopics
from tests.rigs.deadline import wait_until
from tests.rigs.kafka_proxy import Api, ProxiedKafka
from tests.rigs.member import Member, turns

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]


def test_a_member_that_missed_what_it_was_given_joins_anew(proxied_kafka: ProxiedKafka, topics: CreateTopics) -> None:
    made = topics(partitions=6, kafka=proxied_kafka)

    def member(name: str) -> Member:
        return Member(made, slot=name, kafka={"group_protocol": "consumer", "extra": {"client.id": name}})

    with member("first") as first:
        turns(first, until=lambda: len(first.placed) == 6)
        with member("second") as second:
            turns(first, second, until=lambda: len(first.placed) == len(second.placed) == 3, within=40)
            with member("third") as third:
                turns(second, third, until=lambda: len(third.placed) == 1, within=40)  # the first has not heard of it
                group = GroupReader(third.settings)

                def is_given() -> bool:
                    owners = group.read(timeout=5).owners
                    return sum(owner.client_id == "third" for owner in owners.values()) == 2

                with proxied_kafka.proxy.swallow(Api.CONSUMER_GROUP_HEARTBEAT, containing="third"):
                    turns(first, until=lambda: len(first.owned) == 2, within=40)
                    wait_until(is_given, within=20, what="the group gives two partitions to the third")
                assert len(third.owned) == 1
                members = (first, second, third)
                turns(*members, until=lambda: len(third.placed) == 2, within=60, what="the third has its partitions")
                assert first.owned | second.owned | third.owned == set(range(6))
