"""Does `consumer topics` make what is missing, leave what is there, and name what differs?"""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from typer.testing import CliRunner, Result

from consumer.__main__ import app
from consumer.checkup.provisioning import Wish, create_topics
from consumer.kafka.administration import Administration
from consumer.settings import TopicSettings, load
from tests.rigs.kafka import Kafka
from tests.rigs.topics import Topics, delete_topics

pytestmark = pytest.mark.kafka


@pytest.fixture
def absent(kafka: Kafka) -> Iterator[Topics]:
    """Three topics that do not exist yet."""
    name = f"made-{uuid.uuid4().hex[:8]}"
    topics = Topics(kafka.bootstrap_servers, f"{name}.jobs", f"{name}.results", f"{name}.dead-letters", name, 4)
    yield topics
    delete_topics(topics)


def test_topics_are_made_left_alone_compared_and_given_partitions(absent: Topics, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(absent.settings))

    def topics(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["topics", *arguments, "--settings", str(file)])

    missing = topics("check")
    assert missing.exit_code == 1
    assert missing.stdout.count("does not exist, or this user may not see it → create it") == 3

    created = topics("create", "--partitions", "4", "--dead-letter-retention-days", "14")
    assert created.exit_code == 0, created.output
    assert created.stdout.count("created: 4 partitions, replication 1") == 3
    assert "1114124 bytes a message, kept 14 days" in created.stdout.splitlines()[2]
    assert created.stdout.count("1048588 bytes a message, kept 7 days") == 2

    again = topics("create")
    assert (again.exit_code, again.stdout) == (0, created.stdout.replace("created:", "exists:"))
    assert topics("check").exit_code == 0

    other = topics("create", "--partitions", "5")
    assert other.exit_code == 1
    assert other.stdout.count("exists: has 4 partitions, 5 are wanted → consumer topics create --partitions 5") == 3

    added = topics("create", "--partitions", "5", "--add-partitions")
    assert (added.exit_code, added.stdout.count("1 partitions added: 5 partitions")) == (0, 3), added.output

    alter(absent, absent.dead_letters, "max.message.bytes", "1048588")
    red = topics("check", "--json")
    assert red.exit_code == 1
    checked = json.loads(red.stdout)
    assert (checked["ok"], [one["state"] for one in checked["checks"]]) == (False, ["ok", "ok", "red"])
    assert checked["checks"][2]["advice"].endswith(f"{absent.dead_letters} --add-config max.message.bytes=1114124")
    assert topics("create").exit_code == 1


def test_what_the_broker_refuses_is_one_line(kafka: Kafka, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    nameless = {"kafka": {"bootstrap_servers": kafka.bootstrap_servers}, "topics": {"jobs": "line 3!"}}
    file.write_text(yaml.safe_dump(nameless))
    refused = CliRunner().invoke(app, ["topics", "create", "--partitions", "1", "--settings", str(file)])
    assert refused.exit_code == 2
    assert refused.stderr.startswith("error: topic line 3! cannot be created: ")
    assert len(refused.stderr.splitlines()) == 1


def alter(topics: Topics, topic: str, setting: str, value: str) -> None:
    entry = ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": topics.bootstrap_servers})
    for altered in admin.incremental_alter_configs([resource]).values():
        altered.result(10)


def test_who_fails_half_way_says_what_was_made_and_two_at_once_do_not_disturb_each_other(
    kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"made-{uuid.uuid4().hex[:8]}"
    file = tmp_path / "settings.yaml"
    wrong = {"jobs": f"{name}.jobs", "results": "bad name!", "dead_letters": f"{name}.dead-letters"}
    file.write_text(yaml.safe_dump({"kafka": {"bootstrap_servers": kafka.bootstrap_servers}, "topics": wrong}))

    ended = CliRunner().invoke(app, ["topics", "create", "--partitions", "2", "--settings", str(file)])

    assert ended.exit_code == 2
    assert ended.stderr.endswith(f"(done before: {name}.jobs created)\n")
    admin = Administration(load(file, inspects=False))
    unseen = admin.topics
    monkeypatch.setattr(admin, "topics", lambda names: unseen(names) if len(names) == 1 else {})  # as the other began
    names = TopicSettings(jobs=f"{name}.jobs", results=f"{name}.results", dead_letters=f"{name}.dead-letters")
    findings = list(create_topics(admin, names, Wish(partitions=2)))
    assert [finding.fact.partition(":")[0] for finding in findings] == ["exists", "created", "created"]
