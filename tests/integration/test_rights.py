"""Does the doctor name the right that is missing, and does asking disturb nobody?"""

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AclOperation, ResourceType

from consumer.checkup.checkup import _check_kafka
from consumer.checkup.findings import Finding
from consumer.kafka.client import producer_properties, transactional_id
from consumer.kafka.rights import try_transactional_id
from consumer.settings import Settings
from tests.conftest import CreateTopics
from tests.rigs.deadline import wait_until
from tests.rigs.kafka import GivenKafka
from tests.rigs.kafka_secured import SecuredKafka
from tests.rigs.topics import Topics

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def settings_of(secured: SecuredKafka, topics: Topics, slot: str = "auto") -> Settings:
    kafka = {"bootstrap_servers": secured.bootstrap_servers, "group_id": topics.group, "extra": secured.extra}
    sections = topics.settings | {"kafka": kafka, "delivery": {"slot": slot}}
    return Settings(**sections, images={"allowed_buckets": ["parts"]})  # type: ignore[arg-type]


def states(settings: Settings) -> dict[str, Finding]:
    return {finding.name.removesuffix("-doctor"): finding for finding in _check_kafka(settings)}


def test_each_missing_right_is_named_until_it_is_granted(secured: SecuredKafka, topics: CreateTopics) -> None:
    made = topics(kafka=GivenKafka(secured.open_servers, "secured"))
    settings = settings_of(secured, made)
    needs = {
        f"rights: topic {made.jobs}": f"grant Read on topic {made.jobs}",
        f"rights: topic {made.results}": f"grant Write on topic {made.results}",
        f"rights: topic {made.dead_letters}": f"grant Write on topic {made.dead_letters}",
        f"rights: group {made.group}": f"grant Read on group {made.group}",
        "rights: transactional id": f"transactional ids that begin with inspection.{made.group}. (a prefixed ACL)",
    }

    def rights() -> dict[str, Finding]:
        found = states(settings)
        return {need: next(found[name] for name in found if name.startswith(need)) for need in needs}

    before = rights()
    assert {finding.state for finding in before.values()} == {"red"}
    assert [need for need, advice in needs.items() if advice not in before[need].advice] == []

    secured.grant(ResourceType.TOPIC, made.jobs, AclOperation.READ)
    secured.grant(ResourceType.TOPIC, made.results, AclOperation.WRITE)
    secured.grant(ResourceType.TOPIC, made.dead_letters, AclOperation.WRITE)
    secured.grant(ResourceType.GROUP, made.group, AclOperation.READ)
    secured.grant(ResourceType.TRANSACTIONAL_ID, f"inspection.{made.group}.", AclOperation.WRITE, prefixed=True)
    wait_until(lambda: {finding.state for finding in rights().values()} == {"ok"}, within=10, what="rights are seen")

    assert {name: found.state for name, found in states(settings).items() if name.startswith("topic")} == dict.fromkeys(
        [f"topic {made.jobs}", f"topic {made.results}", f"topic {made.dead_letters}"], "warning"
    )
    for topic in (made.jobs, made.results, made.dead_letters):
        secured.grant(ResourceType.TOPIC, topic, AclOperation.DESCRIBE_CONFIGS)
    wait_until(
        lambda: {finding.state for finding in states(settings).values()} == {"ok"}, within=10, what="all is granted"
    )


def test_the_owner_of_a_fixed_slot_is_not_fenced(secured: SecuredKafka, topics: CreateTopics) -> None:
    made = topics(kafka=GivenKafka(secured.open_servers, "secured"))
    settings = settings_of(secured, made, slot="pod-0")
    name = transactional_id(settings, "pod-0")
    secured.grant(ResourceType.TOPIC, made.results, AclOperation.WRITE)
    secured.grant(ResourceType.TRANSACTIONAL_ID, name, AclOperation.WRITE)
    wait_until(lambda: try_transactional_id(settings, name, timeout=5) == "usable", within=10, what="the right is seen")
    owner = Producer(producer_properties(settings) | {"transactional.id": name})
    owner.init_transactions(10)
    owner.begin_transaction()
    owner.produce(made.results, b"before")

    assert states(settings)[f"rights: transactional id {name}"].state == "warning"  # this id alone is granted
    secured.grant(ResourceType.TRANSACTIONAL_ID, f"inspection.{made.group}.", AclOperation.WRITE, prefixed=True)
    wait_until(
        lambda: states(settings)[f"rights: transactional id {name}"].state == "ok", within=10, what="the slot is tried"
    )

    owner.produce(made.results, b"after")
    owner.commit_transaction(10)
