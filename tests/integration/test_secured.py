"""Does a secured broker let a consumer in by configuration alone, and is each way to be refused one clear line?"""

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from consumer.checkup.checkup import _check_kafka
from consumer.demo.ports import free_port
from consumer.errors import SettingsError
from consumer.kafka.topics import read_topics
from consumer.settings import Settings
from tests.conftest import StartConsumer
from tests.integration.troubles import SECRETS, TROUBLES, WRONG, World, settings_of
from tests.rigs.deadline import wait_until
from tests.rigs.jobs import job, picture
from tests.rigs.kafka_secured import PASSWORD, SecuredKafka
from tests.rigs.outcomes import OutcomeReader, judge
from tests.rigs.s3 import S3Server
from tests.rigs.token_server import CLIENT_SECRET
from tests.rigs.topics import create_topics

pytestmark = [pytest.mark.kafka, pytest.mark.s3, pytest.mark.timeout(240)]

RENEWALS = 15  # by four clients, three times each at the least
MOST_TRIES = 10  # without a pause between them there are hundreds
AT_ONCE = 6  # processes that start together


@pytest.fixture(scope="module")
def world(secured: SecuredKafka, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("secured")
    bucket = f"secured-{free_port()}"
    s3.create_bucket(bucket)
    s3.put(bucket, "part.jpg", picture(97, 33))
    made, bare = (create_topics(secured.open_servers, folder.name + suffix, partitions=1) for suffix in ("", ".bare"))
    world = World(secured, made, s3, bucket, folder, bare)
    world.grant(made)
    return world


def assert_a_job_goes_through(
    world: World, name: str, settings: dict[str, Any], environment: Mapping[str, str]
) -> None:
    sources = world.topics.publish([job(world.bucket, "part.jpg"), b"{broken"])
    process = world.run(name, settings, environment, "--until-caught-up")
    process.join(60)
    log = world.log(name)
    assert process.exitcode == 0, log
    with OutcomeReader(world.topics.bootstrap_servers, world.topics.outcomes) as reader:
        seen = reader.read_to_end()
    assert judge(sources, seen).is_clean, log
    assert {outcome.source: outcome.reason for outcome in seen} == dict(
        zip(sources, (None, "schema_invalid"), strict=True)
    )
    assert secrets_in(log) == []


def secrets_in(log: str) -> list[str]:
    return [secret for secret in (PASSWORD, CLIENT_SECRET, WRONG) if secret in log]


def test_a_job_goes_through_a_broker_with_tls_scram_and_acls(world: World) -> None:
    settings = world.settings(world.documented("scram"))
    assert "delivery" not in settings  # exactly once
    assert_a_job_goes_through(world, "scram", settings, {"CONSUMER__KAFKA__EXTRA": json.dumps(SECRETS["scram"])})


def test_a_missing_right_on_a_topic_is_named_by_the_start(world: World) -> None:
    bare, kafka = world.bare, world.documented("scram")
    kafka["extra"] |= SECRETS["scram"]
    for key, name, need in (
        ("jobs", bare.jobs, "Read"),
        ("results", bare.results, "Write"),
        ("dead_letters", bare.dead_letters, "Write"),
    ):
        settings = Settings(**world.settings(kafka, topics={key: name}))
        with pytest.raises(SettingsError, match=rf"topics\.{key}: a right is missing: grant {need} on topic {name} to"):
            read_topics(settings, timeout=10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "protocol", "mode"),
    [
        ("scram", "consumer", "exactly_once"),
        ("plain", "classic", "at_least_once"),
        ("certificate", "classic", "exactly_once"),
        ("token", "classic", "exactly_once"),
        ("token", "consumer", "at_least_once"),
    ],
)
def test_a_job_goes_through_every_kind_of_door(world: World, kind: str, protocol: str, mode: str) -> None:
    name = f"{kind}-{protocol}"
    world = world.elsewhere(name)
    settings = world.settings({**world.documented(kind), "group_protocol": protocol}, delivery={"mode": mode})
    folder = world.folder / f"{name}.secrets"
    folder.mkdir()
    (folder / "CONSUMER__KAFKA__EXTRA").write_text(json.dumps(SECRETS[kind]))
    assert_a_job_goes_through(world, name, settings, {"CONSUMER_SECRETS_DIR": str(folder)})


@pytest.mark.slow
def test_a_token_that_ends_is_renewed_while_jobs_flow(world: World, start_consumer: StartConsumer) -> None:
    """The broker ends a session with its token."""
    world = world.elsewhere("brief")
    kafka = world.documented("token")
    kafka["extra"] |= {**SECRETS["token"], "sasl.oauthbearer.client.id": "brief"}
    consumer = start_consumer(world.settings(kafka), environment=dict(world.s3.environment))
    consumer.wait_ready()
    with OutcomeReader(world.topics.bootstrap_servers, world.topics.outcomes) as reader:
        sources = world.topics.publish([job(world.bucket, "part.jpg")])
        reader.read_count(1, within=30)
        given = world.kafka.tokens.given
        wait_until(lambda: world.kafka.tokens.given >= given + RENEWALS, within=60, what="tokens are renewed")
        sources += world.topics.publish([job(world.bucket, "part.jpg")])
        assert judge(sources, reader.read_count(2, within=30)).is_clean
    assert consumer.readyz()[0] == 200
    consumer.terminate()
    assert consumer.wait(20) == 0
    assert secrets_in(consumer.log) == []
    assert [line for line in consumer.log_lines if line["level"] in ("ERROR", "CRITICAL")] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "resource"),
    [
        ("exactly_once", "results"),
        ("exactly_once", "group"),
        ("exactly_once", "transactional id"),
        ("at_least_once", "results"),
        ("at_least_once", "group"),
    ],
)
def test_a_right_that_is_withdrawn_stops_delivery_until_it_is_back(
    world: World, start_consumer: StartConsumer, mode: str, resource: str
) -> None:
    world = world.elsewhere(f"withdrawn-{mode}-{resource}".replace(" ", "-"))
    rule: tuple[ResourceType, str, AclOperation] = {
        "results": (ResourceType.TOPIC, world.topics.results, AclOperation.WRITE),
        "group": (ResourceType.GROUP, world.topics.group, AclOperation.READ),
        "transactional id": (ResourceType.TRANSACTIONAL_ID, f"inspection.{world.topics.group}.", AclOperation.WRITE),
    }[resource]
    prefixed = resource == "transactional id"
    kafka = world.documented("scram")
    kafka["extra"] |= SECRETS["scram"]
    consumer = start_consumer(world.settings(kafka, delivery={"mode": mode}), environment=dict(world.s3.environment))
    consumer.wait_ready()
    with OutcomeReader(world.topics.bootstrap_servers, world.topics.outcomes) as reader:
        sources = world.topics.publish([job(world.bucket, "part.jpg")])
        reader.read_count(1, within=30)
        world.kafka.withdraw(*rule, prefixed=prefixed)
        sources += world.topics.publish([job(world.bucket, "part.jpg")])
        wait_until(lambda: "a right is missing" in consumer.readyz()[1]["delivery"], within=30, what="it is not ready")
        world.kafka.grant(*rule, prefixed=prefixed)
        assert judge(sources, reader.read_count(2, within=60)).is_clean
    wait_until(lambda: consumer.readyz()[0] == 200, within=30, what="it is ready again")
    assert len([line for line in consumer.log_lines if line["message"] == "delivery failed"]) < MOST_TRIES


@pytest.fixture(scope="module")
def ends(world: World) -> Mapping[str, int | None]:
    """Exit codes: every trouble made once, by a process with its own log."""
    for resource, name, operation, prefixed in (
        (ResourceType.TOPIC, world.bare.dead_letters, AclOperation.DESCRIBE, False),
        (ResourceType.GROUP, f"{world.bare.group}.seen", AclOperation.DESCRIBE, False),
        (ResourceType.TRANSACTIONAL_ID, f"inspection.{world.bare.group}.", AclOperation.WRITE, True),
        (ResourceType.GROUP, f"{world.bare.group}-read", AclOperation.READ, False),
    ):
        world.kafka.grant(resource, name, operation, prefixed=prefixed)
    ends: dict[str, int | None] = {}
    names = iter(TROUBLES)
    while together := list(islice(names, AT_ONCE)):
        processes = {name: world.run(name, settings_of(world, TROUBLES[name](world)), {}) for name in together}
        for name, process in processes.items():
            process.join(90)
            ends[name] = process.exitcode
            process.kill()
    return ends


@pytest.mark.slow
@pytest.mark.parametrize("name", TROUBLES)
def test_to_be_refused_is_one_line_and_its_exit_code(world: World, ends: Mapping[str, int | None], name: str) -> None:
    trouble, log = TROUBLES[name](world), world.log(name)
    assert ends[name] == trouble.code, log
    lines: list[dict[str, Any]] = [json.loads(line) for line in log.splitlines()]
    errors = [line for line in lines if line["level"] not in ("INFO", "WARNING")]
    assert len(errors) == 1, log
    assert errors[0]["exit_code"] == trouble.code
    assert [words for words in trouble.says if words not in errors[0]["message"]] == [], errors[0]["message"]
    assert secrets_in(log) == []
    assert "Traceback" not in log


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wrong password", "expired certificate", "plaintext to tls"])
def test_the_doctor_says_the_same(world: World, name: str) -> None:
    trouble = TROUBLES[name](world)
    brokers = next(iter(_check_kafka(Settings(**settings_of(world, trouble)))))

    assert (brokers.name, brokers.state) == ("brokers", "red")
    assert [words for words in trouble.says if words not in brokers.fact] == [], brokers.fact
