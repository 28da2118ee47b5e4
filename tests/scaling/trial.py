"""How many images a second do real replicas do, on a real Kafka and a real S3?"""

import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consumer.planning.samples import Sample
from tests.rigs.deadline import wait_until
from tests.rigs.jobs import job, settings_for
from tests.rigs.kafka import Kafka
from tests.rigs.process import ConsumerProcess
from tests.rigs.s3 import S3Server
from tests.rigs.topics import Topics, create_topics, delete_topics

PARTITIONS = 12
WARM, WINDOW, LEFT = 5, 20, 15  # seconds of jobs before, while and after it is counted
ENGINE = "tests.scaling.engine:sleeping_engine"


@dataclass(frozen=True)
class Case:
    """`limit` is what the plan says keeps a replica from more."""

    limit: str
    replicas: int
    places: int
    seconds: float
    max_in_flight: int

    @property
    def environment(self) -> dict[str, str]:
        return {"STAND_IN_PLACES": str(self.places), "STAND_IN_SECONDS": str(self.seconds)}

    @property
    def sections(self) -> dict[str, dict[str, Any]]:
        return {"model": {"engine": ENGINE}, "limits": {"max_in_flight": self.max_in_flight}}


@dataclass(frozen=True)
class Seen:
    """Images a second of all replicas; CPU seconds of an image, and seconds of a commit, both as the processes say."""

    rate: float
    cpu_seconds: float
    commit: float


@dataclass(frozen=True)
class _Count:
    """What one process says of itself at one moment."""

    at: float
    jobs: float
    cpu: float
    commits: float
    committing: float


def run(case: Case, expected: float, samples: Sequence[Sample], kafka: Kafka, s3: S3Server, folder: Path) -> Seen:
    """Start the replicas, wait until each has its share of the partitions, give them a backlog and count while it
    lasts. `expected` images a second say how many jobs that takes."""
    name = f"scaling-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(name)
    keys = [f"{number}.jpg" for number in range(len(samples))]
    for key, sample in zip(keys, samples, strict=True):
        s3.put(name, key, sample.content)
    topics = create_topics(kafka.bootstrap_servers, name, partitions=PARTITIONS)
    try:
        with ExitStack() as stack:
            processes = _start(stack, case, settings_for(topics, s3, name, **case.sections), s3, folder)
            return _count_while_busy(processes, topics, [job(name, key) for key in keys], expected)
    finally:
        delete_topics(topics)


def _start(stack: ExitStack, case: Case, settings: dict[str, Any], s3: S3Server, folder: Path) -> list[ConsumerProcess]:
    environment = s3.environment | case.environment
    processes = [
        stack.enter_context(ConsumerProcess(folder, settings, name=f"replica-{number}", environment=environment))
        for number in range(case.replicas)
    ]
    for process in processes:
        process.wait_ready(within=120)
    share = PARTITIONS // case.replicas
    wait_until(
        lambda: all(_partitions(process) == share for process in processes),
        within=60,
        what=lambda: f"each of {case.replicas} replicas has {share} partitions",
    )
    return processes


def _count_while_busy(processes: list[ConsumerProcess], topics: Topics, jobs: list[bytes], expected: float) -> Seen:
    wanted = round(expected * (WARM + WINDOW + LEFT))
    topics.publish(jobs[number % len(jobs)] for number in range(wanted))
    _wait_done(processes, expected * WARM)
    before = [_count(process) for process in processes]
    _wait_done(processes, expected * (WARM + WINDOW))
    after = [_count(process) for process in processes]
    if sum(count.jobs for count in after) > wanted - expected * LEFT / 2:
        raise RuntimeError("the backlog did not last: too little was expected of the replicas")
    pairs = list(zip(before, after, strict=True))
    jobs_done = sum(b.jobs - a.jobs for a, b in pairs)
    return Seen(
        rate=sum((b.jobs - a.jobs) / (b.at - a.at) for a, b in pairs),
        cpu_seconds=sum(b.cpu - a.cpu for a, b in pairs) / jobs_done,
        commit=sum(b.committing - a.committing for a, b in pairs) / sum(b.commits - a.commits for a, b in pairs),
    )


def _wait_done(processes: list[ConsumerProcess], count: float) -> None:
    """Looked at seldom: a process that is asked for its metrics spends milliseconds on them."""
    until = time.monotonic() + 6 * (WARM + WINDOW)
    while sum(process.metric("inspection_jobs_total") for process in processes) < count:
        if time.monotonic() > until:
            raise TimeoutError(f"{count:.0f} jobs were not done")
        time.sleep(1)


def _partitions(process: ConsumerProcess) -> int:
    return sum(sample.name == "inspection_lag_jobs" for sample in process.metrics())


def _count(process: ConsumerProcess) -> _Count:
    at = time.monotonic()
    values: dict[str, float] = {}
    for sample in process.metrics():
        values[sample.name] = values.get(sample.name, 0.0) + sample.value
    return _Count(
        at=at,
        jobs=values["inspection_jobs_total"],
        cpu=values["process_cpu_seconds_total"],
        commits=values["inspection_delivery_seconds_count"],
        committing=values["inspection_delivery_seconds_sum"],
    )
