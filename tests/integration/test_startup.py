"""Is everything that a person can get wrong said in one line, with the documented code, before the group is joined?"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka.admin import AdminClient

from consumer.demo.ports import free_port
from tests.conftest import StartConsumer
from tests.integration.mistakes import MISTAKES, NOBODY, PASSWORD, Mistake, World
from tests.rigs.deadline import wait_until
from tests.rigs.forked import run_forked
from tests.rigs.jobs import settings_for
from tests.rigs.kafka import Kafka
from tests.rigs.process import ConsumerProcess
from tests.rigs.s3 import SECRET_KEY, S3Server
from tests.rigs.topics import create_topics, delete_topics

pytestmark = [pytest.mark.kafka, pytest.mark.s3, pytest.mark.timeout(240)]

AT_ONCE = 8  # processes that start together


@dataclass(frozen=True)
class End:
    """How a process with a mistake ended."""

    code: int | None
    log: str


@pytest.fixture(scope="module")
def world(kafka: Kafka, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("startup")
    topics = create_topics(kafka.bootstrap_servers, f"{folder.name}-{free_port()}", partitions=1)
    s3.create_bucket("startup")
    yield World(topics, s3, "startup", folder)
    delete_topics(topics)


@pytest.fixture(scope="module")
def ends(world: World) -> dict[str, End]:
    """Every mistake made once, by a process with a group of its own."""
    ends: dict[str, End] = {}
    names = iter(MISTAKES)
    while together := list(islice(names, AT_ONCE)):
        processes = {name: start(world, name, MISTAKES[name](world)) for name in together}
        for name, process in processes.items():
            process.join(60)
            ends[name] = End(process.exitcode, log_of(world, name).read_text())
            process.kill()
    return ends


def start(world: World, name: str, mistake: Mistake, *arguments: str) -> BaseProcess:
    settings = settings_for(world.topics, world.s3, world.bucket, **{"http": {"port": 0}, **mistake.sections})
    settings["kafka"]["group_id"] = group_of(world, name)
    file = mistake.settings_file or world.file(f"{name}.yaml", yaml.safe_dump(settings))
    environment = {
        **{name: text for name, text in os.environ.items() if not name.startswith(("CONSUMER_", "AWS_"))},
        **world.s3.environment,
        "AWS_EC2_METADATA_DISABLED": "true",
        "HOME": str(world.folder),
        **mistake.environment,
    }
    return run_forked(("run", "--settings", file, *arguments), environment=environment, log=log_of(world, name))


def log_of(world: World, name: str) -> Path:
    return world.folder / f"{name}.log"


def group_of(world: World, name: str) -> str:
    return f"{world.topics.group}.{name}"


def groups(world: World) -> set[str]:
    admin = AdminClient({"bootstrap.servers": world.topics.bootstrap_servers})  # its requests end with it
    return {group.group_id for group in admin.list_consumer_groups().result(10).valid}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_its_exit_code(world: World, ends: dict[str, End], name: str) -> None:
    mistake, end = MISTAKES[name](world), ends[name]
    assert end.code == mistake.code, end.log
    lines: list[dict[str, Any]] = [json.loads(line) for line in end.log.splitlines()]
    errors = [line for line in lines if line["level"] not in ("INFO", "WARNING")]
    assert len(errors) == 1, end.log
    assert errors[0]["exit_code"] == end.code
    assert [words for words in mistake.says if words not in errors[0]["message"]] == [], errors[0]["message"]
    assert [words for words in (PASSWORD, SECRET_KEY, "Traceback") if words in end.log] == []


def test_the_group_is_joined_when_nothing_is_wrong_and_only_then(world: World, ends: dict[str, End]) -> None:
    start(world, "no mistake", Mistake(()), "--until-caught-up").join(60)
    joined = groups(world)
    assert group_of(world, "no mistake") in joined, log_of(world, "no mistake").read_text()
    assert [name for name in ends if group_of(world, name) in joined] == []


def test_it_is_alive_and_not_ready_while_it_starts_and_a_signal_ends_it_with_0(
    world: World, start_consumer: StartConsumer
) -> None:
    missing: dict[str, dict[str, dict[str, Any]]] = {
        "broker": {"kafka": {"bootstrap_servers": NOBODY}},
        "store": {"s3": {"endpoint_url": f"http://{NOBODY}"}},
    }
    processes = {
        check: start_consumer(
            settings_for(world.topics, world.s3, world.bucket, **sections), name=check, environment=world.s3.environment
        )
        for check, sections in missing.items()
    }
    for check, process in processes.items():
        wait_until(partial(has_come_to, check, process), within=30, what=f"it has come to the {check}")
        status, checks = process.readyz()
        assert (status, process.livez()[0]) == (503, 200)
        assert checks[check] != "ok"
        process.terminate()
    assert {check: process.wait(10) for check, process in processes.items()} == {"broker": 0, "store": 0}


def has_come_to(check: str, process: ConsumerProcess) -> bool:
    """Whether all that is looked at before is fine; of the store, whether it has been found to be away."""
    try:
        checks = process.readyz()[1]
    except ConnectionError:  # it does not listen yet
        return False
    return NOBODY in checks["store"] if check == "store" else checks["engine"] == "ok"
