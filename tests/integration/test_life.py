"""Does the process end when and how it is told to, with nothing lost and nothing done twice?"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from tests.conftest import CreateTopics, StartConsumer
from tests.rigs.deadline import wait_until
from tests.rigs.jobs import job, picture, settings_for
from tests.rigs.kafka_jars import ROOT
from tests.rigs.outcomes import Outcome, OutcomeReader, Source, judge
from tests.rigs.process import ConsumerProcess
from tests.rigs.s3 import S3Server
from tests.rigs.s3_proxy import Fault, S3Proxy
from tests.rigs.topics import Topics

JOBS = 60
IN_HAND = 20
UNTIL_CAUGHT_UP = ("--until-caught-up",)
NOT_NEEDED = {"torch", "ultralytics", "openvino", "cv2", "obstore", "boto3", "confluent_kafka"}


def members(topics: Topics) -> int:
    """How many the group has, by the broker's word."""
    admin = AdminClient({"bootstrap.servers": topics.bootstrap_servers})
    return len(admin.describe_consumer_groups([topics.group])[topics.group].result(10).members)


@dataclass(frozen=True)
class Case:
    """A process with jobs in hand that wait for the store, and more behind them."""

    settings: dict[str, Any]
    topics: Topics
    published: list[Source]
    proxy: S3Proxy
    process: ConsumerProcess

    def seen(self) -> list[Outcome]:
        with OutcomeReader(self.topics.bootstrap_servers, self.topics.outcomes) as reader:
            return reader.read_to_end()


Begin = Callable[[dict[str, tuple[Fault, float]]], dict[str, Case]]


@pytest.fixture
def begin(s3: S3Server, bucket: str, topics: CreateTopics, start_consumer: StartConsumer) -> Iterator[Begin]:
    """Start a process for each name, with this fault of its store and this drain_timeout."""
    s3.put(bucket, "a.jpg", picture(64, 64))
    with ExitStack() as stack:

        def start(wanted: dict[str, tuple[Fault, float]]) -> dict[str, Case]:
            cases = {}
            for name, (_, drain_timeout) in wanted.items():
                mine, proxy = topics(partitions=2), stack.enter_context(S3Proxy(s3))
                settings = settings_for(
                    mine,
                    s3,
                    bucket,
                    s3={"endpoint_url": proxy.endpoint_url},
                    limits={"max_in_flight": IN_HAND},
                    delivery={"drain_timeout": drain_timeout},
                )
                process = start_consumer(settings, name=name, environment=s3.environment)
                cases[name] = Case(settings, mine, [], proxy, process)
            for name, case in cases.items():
                case.process.wait_ready()
                case.proxy.fail(wanted[name][0])
                case.published.extend(case.topics.publish([job(bucket, "a.jpg")] * JOBS))
            for case in cases.values():
                wait_until(partial(has_all_in_hand, case.process), within=30, what=f"{IN_HAND} jobs are in hand")
            return cases

        yield start


def has_all_in_hand(process: ConsumerProcess) -> bool:
    return process.metric("inspection_in_flight_jobs") == IN_HAND


def line_of(process: ConsumerProcess, message: str) -> dict[str, Any]:
    """The first log line with this message, once it is there."""

    def lines() -> list[dict[str, Any]]:
        return [line for line in process.log_lines if line["message"] == message]

    wait_until(lambda: bool(lines()), within=30, what=f"the line {message!r}")
    return lines()[0]


@pytest.mark.kafka
@pytest.mark.s3
def test_however_it_is_ended_no_job_is_lost_or_done_twice(
    s3: S3Server, begin: Begin, start_consumer: StartConsumer
) -> None:
    silent, down = (Fault.SILENCE, 20.0), (Fault.ERROR, 1.0)
    cases = begin({"drained": silent, "terminated": silent, "interrupted": silent, "in an outage": down})
    asked = cases["in an outage"].proxy.asked("a.jpg")
    for case in cases.values():
        case.process.terminate()
    for case in cases.values():
        assert line_of(case.process, "draining")["jobs"] == IN_HAND
    for name, second in (("terminated", signal.SIGTERM), ("interrupted", signal.SIGINT)):
        os.kill(cases[name].process.process_id, second)
        assert cases[name].process.wait(5) == 128 + second
        assert cases[name].seen() == []
    cases["drained"].proxy.heal()
    for name, delivered in (("drained", IN_HAND), ("in an outage", 0)):
        assert cases[name].process.wait(30) == 0
        assert members(cases[name].topics) == 0
        assert len(cases[name].seen()) == delivered
    assert cases["in an outage"].proxy.asked("a.jpg") - asked < 10 * IN_HAND, "it asks all the time while it drains"
    assert_finished(s3, [cases["drained"], cases["in an outage"]], start_consumer)


def assert_finished(s3: S3Server, cases: list[Case], start_consumer: StartConsumer) -> None:
    """The next process of each group does the rest: then each job has its one result."""
    successors = []
    for number, case in enumerate(cases):
        case.proxy.heal()
        successors.append(
            start_consumer(
                case.settings, name=f"successor-{number}", environment=s3.environment, arguments=UNTIL_CAUGHT_UP
            )
        )
    for case, successor in zip(cases, successors, strict=True):
        assert successor.wait(60) == 0
        seen = case.seen()
        assert judge(case.published, seen).is_clean
        assert {outcome.reason for outcome in seen} == {None}


@pytest.mark.kafka
@pytest.mark.s3
def test_until_caught_up_replicas_leave_no_job_behind_although_a_partition_is_on_its_way_between_them(
    s3: S3Server, bucket: str, topics: CreateTopics, start_consumer: StartConsumer
) -> None:
    s3.put(bucket, "a.jpg", picture(64, 64))
    empty, full = topics(partitions=2), topics(partitions=2)
    published = full.publish([job(bucket, "a.jpg")] * JOBS, partition=0)
    with S3Proxy(s3) as proxy:
        settings = settings_for(
            full, s3, bucket, s3={"endpoint_url": proxy.endpoint_url}, kafka={"extra": {"heartbeat.interval.ms": 300}}
        )

        def start(name: str, settings: dict[str, Any]) -> ConsumerProcess:
            return start_consumer(settings, name=name, environment=s3.environment, arguments=UNTIL_CAUGHT_UP)

        proxy.fail(Fault.SILENCE, "a.jpg")
        processes = [start("first", settings), start("nothing to do", settings_for(empty, s3, bucket))]
        wait_until(lambda: proxy.asked("a.jpg") > 0, within=30, what="the first one works")
        processes.append(start("second", settings))
        line_of(processes[0], "partitions revoked")
        proxy.heal()
        assert [process.wait(60) for process in processes] == [0, 0, 0]
    with OutcomeReader(full.bootstrap_servers, full.outcomes) as reader:
        assert judge(published, reader.read_to_end()).is_clean


@pytest.mark.kafka
@pytest.mark.s3
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_member_without_partitions_is_ready_and_leaves_at_once_too(
    s3: S3Server, bucket: str, topics: CreateTopics, start_consumer: StartConsumer, protocol: str
) -> None:
    mine = topics(partitions=1)
    extra = {"heartbeat.interval.ms": 300} if protocol == "classic" else {}
    settings = settings_for(mine, s3, bucket, kafka={"group_protocol": protocol, "extra": extra})
    processes = [start_consumer(settings, name=name, environment=s3.environment) for name in ("a", "b")]
    for process in processes:
        process.wait_ready()
    assert members(mine) == 2
    has_partition = [process.metric("inspection_rebalances_total", event="assigned") for process in processes]
    idle = processes[has_partition.index(0)]
    idle.terminate()
    assert idle.wait(20) == 0
    assert members(mine) == 1


@pytest.mark.parametrize(
    ("arguments", "said", "needed"),
    [
        (("--version",), r"^consumer +\d+\.\d+\.\d+", {"confluent_kafka"}),  # knows librdkafka's
        (("run", "--help"), "--until-caught-up", set()),
    ],
    ids=["--version", "run --help"],
)
def test_help_and_version_need_no_engine(
    arguments: tuple[str, ...], said: str, needed: set[str], tmp_path: Path
) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "consumer", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert re.search(said, ended.stdout, re.M)
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert "typer" in imported
    assert imported & NOT_NEEDED == needed


def test_an_unknown_option_ends_with_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "consumer", "run", "--until-caught-upp"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, "--until-caught-upp" in ended.stderr) == (2, True)
