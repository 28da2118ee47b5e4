"""How is what a case names started, looked at and ended?"""

import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

from benchmarks import peers
from benchmarks.cases import Case
from benchmarks.loops.task import Task
from benchmarks.processes import below
from benchmarks.servers import BUCKET, Servers
from consumer.cores import available_cores
from consumer.leash import kill, last_line, spawn
from tests.models import PARTS_ONNX, PARTS_PT, ROOT
from tests.rigs.process import ConsumerProcess
from tests.rigs.topics import Topics

READY_WITHIN = 120
_PR_SET_CHILD_SUBREAPER = 36
STAGES = ("queue", "fetch", "decode", "detect", "total")


@dataclass
class Running:
    """The processes of one case."""

    consumers: list[ConsumerProcess] = field(default_factory=list)
    loops: list[tuple[Popen[bytes], Path]] = field(default_factory=list)

    @property
    def process_ids(self) -> list[int]:
        return [*(consumer.process_id for consumer in self.consumers), *(process.pid for process, _ in self.loops)]

    def check(self) -> None:
        """Raises RuntimeError with the last words of a program that has ended."""
        for consumer in self.consumers:
            if not consumer.is_running:
                raise RuntimeError(f"the consumer ended: {last_line(consumer.log_file)}")
        for process, log in self.loops:
            if process.poll() is not None:
                raise RuntimeError(f"the program ended with {process.returncode}: {last_line(log)}")

    def stages(self) -> dict[str, tuple[float, float]]:
        """Sum of seconds and count of each stage that the consumers' metrics know of."""
        name = "inspection_stage_seconds"
        return {
            stage: (
                sum(consumer.metric(f"{name}_sum", stage=stage) for consumer in self.consumers),
                sum(consumer.metric(f"{name}_count", stage=stage) for consumer in self.consumers),
            )
            for stage in STAGES
            if self.consumers
        }


@contextmanager
def running(case: Case, servers: Servers, topics: Topics, folder: Path) -> Iterator[Running]:
    """Start the case's programs; a consumer is ready then, a loop is at its beginning."""
    endpoint, _ = servers.endpoint(case.round_trip)
    with ExitStack() as stack:
        found = Running()
        if case.kind == "consumer":
            for number in range(case.replicas):
                consumer = ConsumerProcess(
                    folder,
                    settings_of(case, topics, endpoint),
                    name=f"{topics.group}-{number}",
                    environment=servers.store.environment,
                )
                found.consumers.append(stack.enter_context(consumer))
            for consumer in found.consumers:
                consumer.wait_ready(within=READY_WITHIN)
        else:
            log = folder / f"{topics.group}.log"
            there = _ours()
            process = spawn(
                _command(case),
                log=log,
                environment=environment(servers, task_of(case, servers, topics)),
                folder=folder,
            )
            stack.callback(_end, process, there)
            found.loops.append((process, log))
        yield found


def settings_of(case: Case, topics: Topics, endpoint: str) -> dict[str, Any]:
    """All else is as installed."""
    model: dict[str, Any] = {"engine": case.engine, "image_size": case.image_size, "shapes": case.shapes}
    if case.is_model:
        model |= {"weights": case.weights or str(PARTS_ONNX), "precision": case.precision}
    return {
        **topics.settings,
        "s3": {"endpoint_url": endpoint},
        "images": {"allowed_buckets": [BUCKET], "decode": case.decode},
        "model": model,
    }


def task_of(case: Case, servers: Servers, topics: Topics | None = None, *, seconds: float = 0.0) -> Task:
    return Task(
        bootstrap_servers=servers.kafka.bootstrap_servers,
        jobs=topics.jobs if topics else "",
        results=topics.results if topics else "",
        group=topics.group if topics else "",
        endpoint_url=servers.endpoint(case.round_trip)[0],
        bucket=BUCKET,
        weights=str(PARTS_PT),
        onnx=case.weights or str(PARTS_ONNX),
        images=str(servers.folder(case.workload)),
        image_size=case.image_size,
        rect=case.shapes == "rectangular",
        engine=case.engine,
        precision=case.precision,
        decode=case.decode,
        batch=case.batch,
        threads=available_cores(),
        seconds=seconds,
    )


def environment(servers: Servers, task: Task) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CONSUMER_", "AWS_"))}
    own = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    return {**kept, **own, **servers.store.environment, **task.environment}


def last_json(text: str) -> dict[str, Any]:
    """What a program printed last."""
    found: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    return found


def _command(case: Case) -> list[str | Path]:
    if case.kind == "peer":
        return [peers.python(case.program), "-m", f"benchmarks.peers.{case.program}.main"]
    return [sys.executable, "-m", f"benchmarks.loops.{case.program}"]


def adopt_orphans() -> None:
    """What a framework's processes leave behind when they end becomes ours, to be ended with them (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end(process: Popen[bytes], besides: set[int]) -> None:
    """End it and all that came since: frameworks start servers and workers of their own."""
    kill(process)
    while numbers := _ours() - besides:
        for number in numbers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        for number in numbers:
            with contextlib.suppress(
                ChildProcessError
            ):  # its own parent, which has ended too, has not left it to us yet
                os.waitpid(number, 0)


def _ours() -> set[int]:
    return {each.number for each in below([os.getpid()])}
