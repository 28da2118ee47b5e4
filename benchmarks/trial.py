"""How is a case measured once?

Its programs start and are warmed with jobs like all others. Then the clock starts, all jobs are published at once (or
one by one, as a trickle), and the clock stops when a `read_committed` reader has seen the last outcome.
"""

import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from benchmarks import figures
from benchmarks.accuracy import Agreement, Row, compare, total
from benchmarks.cases import Case
from benchmarks.loops.task import Task
from benchmarks.processes import MemoryWatch, cpu_of
from benchmarks.programs import Running, environment, last_json, running, task_of
from benchmarks.samples import Sample
from benchmarks.servers import BUCKET, Servers
from benchmarks.watcher import Seen, Watcher
from benchmarks.workload import Workload
from tests.rigs.jobs import job
from tests.rigs.topics import Topics, create_topics, delete_topics

PARTITIONS = 4
WARM, RATED = 16, 48  # jobs before the first sample: to be warm, and to know how many fill the time
LEAST = 32
LONG = 1.0  # seconds
WARM_WITHIN = 180.0

Reference = dict[str, list[Row]]


@dataclass
class Bench:
    """Measures cases; it remembers how fast each was, so that the next sample takes as long as it should."""

    servers: Servers
    folder: Path
    seconds: float
    most_images: int
    rates: dict[str, float] = field(default_factory=dict)
    references: dict[tuple[Workload, str], Reference | None] = field(default_factory=dict)

    def measure(self, case: Case) -> Sample:
        """Raises whatever keeps a case from being measured."""
        keys = self.servers.keys(case.workload)
        if case.kind == "bare":
            return self._measure_part(case)
        expected = self._reference(case) if case.is_model else None
        name = f"bench-{uuid.uuid4().hex[:8]}"
        topics = create_topics(self.servers.kafka.bootstrap_servers, name, partitions=PARTITIONS)
        try:
            with running(case, self.servers, topics, self.folder) as programs, Watcher(topics) as watcher:
                return self._measure(case, _Stream(topics, keys, programs, watcher), expected)
        finally:
            delete_topics(topics)

    def _measure(self, case: Case, stream: "_Stream", expected: Reference | None) -> Sample:
        stream.burst(WARM, within=WARM_WITHIN)
        if case.key not in self.rates:
            self.rates[case.key] = _rate(stream)
        wanted = round((case.rate or self.rates[case.key]) * self.seconds)
        count = max(min(wanted, self.most_images), LEAST)
        roots = {"program": stream.programs.process_ids, **self._server_processes(case)}
        stages, before = stream.programs.stages(), {name: cpu_of(each) for name, each in roots.items()}
        harness = time.process_time()
        with MemoryWatch(roots["program"]) as memory:
            if case.rate is None:
                window = stream.burst(count, within=self.seconds * 10 + WARM_WITHIN)
            else:
                window = stream.trickle(count, case.rate)
        cpu = {name: cpu_of(each) - before[name] for name, each in roots.items()}
        if case.rate is None:
            self.rates[case.key] = count / window.seconds
        return Sample(
            images=count,
            seconds=window.seconds,
            cpu=cpu | {"harness": time.process_time() - harness},
            rss=max(bytes_ for _, bytes_ in memory.seen),
            memory=memory.seen,
            stages=_means(stages, stream.programs.stages()),
            latencies=figures.percentiles(window.latencies),
            agreement=None if expected is None else _agreement(window.seen, expected),
        )

    def _measure_part(self, case: Case) -> Sample:
        task = task_of(case, self.servers, seconds=self.seconds)
        store = [self.servers.store.process_id]
        before = cpu_of(store)
        found = last_json(self._output("bare", task, case.program))
        cpu = {"program": found["cpu"]}
        if case.program == "fetch":
            cpu["store"] = (cpu_of(store) - before) * found["seconds"] / (found["seconds"] + found["warm"])
        return Sample(images=found["images"], seconds=found["seconds"], cpu=cpu)

    def _server_processes(self, case: Case) -> dict[str, list[int]]:
        """Broker, store and the proxy before it, as far as they run on this machine."""
        proxy = self.servers.endpoint(case.round_trip)[1]
        found = {"broker": self.servers.broker, "store": self.servers.store.process_id, "proxy": proxy}
        return {name: [number] for name, number in found.items() if number is not None}

    def _reference(self, case: Case) -> Reference | None:
        """What `predict` finds; None where Ultralytics cannot be asked."""
        key = case.workload, case.shapes
        if key not in self.references:
            try:
                self.references[key] = last_json(self._output("reference", task_of(case, self.servers)))
            except (RuntimeError, subprocess.SubprocessError) as error:
                sys.stderr.write(f"no reference: {error}\n")
                self.references[key] = None
        return self.references[key]

    def _output(self, module: str, task: Task, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.loops.{module}", *arguments],
            cwd=self.folder,
            env=dict(environment(self.servers, task)),
            capture_output=True,
            text=True,
            timeout=self.seconds + WARM_WITHIN,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{module} ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
        return done.stdout


@dataclass(frozen=True)
class _Window:
    seconds: float
    seen: Sequence[Seen]
    latencies: Sequence[float]


@dataclass
class _Stream:
    """Jobs of one sample, published and waited for. Every outcome must be a result."""

    topics: Topics
    keys: Sequence[str]
    programs: Running
    watcher: Watcher
    published: int = 0

    def burst(self, count: int, *, within: float) -> _Window:
        values = [self._job() for _ in range(count)]
        began = time.time()
        self.topics.publish(values)
        seen = self._take(count, within)
        return _Window(max(one.at for one in seen) - began, seen, [one.at - began for one in seen])

    def trickle(self, count: int, rate: float) -> _Window:
        """One job after the other, and the outcomes read by and by: they carry the moment at which they are seen."""
        published: dict[str, float] = {}
        seen: list[Seen] = []
        began = time.time()
        for number in range(count):
            published[f"job-{self.published}"] = time.time()
            self.topics.publish([self._job()], partition=number % PARTITIONS)
            seen += self.watcher.until(began + (number + 1) / rate)
            self.programs.check()
        seen += self._take(count - len(seen), 60)
        latencies = [one.at - published[one.body["job_id"]] for one in seen]
        return _Window(max(one.at for one in seen) - began, seen, latencies)

    def _job(self) -> bytes:
        number = self.published
        self.published += 1
        return job(BUCKET, self.keys[number % len(self.keys)], job_id=f"job-{number}")

    def _take(self, count: int, within: float) -> list[Seen]:
        seen = self.watcher.take(count, within=within, check=self.programs.check)
        dead = sum(not one.is_result for one in seen)
        if dead:
            raise RuntimeError(f"{dead} of {count} outcomes are dead letters")
        return seen


def _rate(stream: "_Stream") -> float:
    """Images a second of a burst that takes a while; a short one is mostly waiting for the delivery."""
    count = RATED
    while (seconds := stream.burst(count, within=WARM_WITHIN).seconds) < LONG:
        count *= 4
    return count / seconds


def _means(before: dict[str, tuple[float, float]], after: dict[str, tuple[float, float]]) -> dict[str, float]:
    """Mean seconds of what was observed between two looks at sums and counts."""
    return {
        stage: (total - before[stage][0]) / (count - before[stage][1])
        for stage, (total, count) in after.items()
        if count > before[stage][1]
    }


def _agreement(seen: Sequence[Seen], expected: Reference) -> Agreement:
    """Each image once: a deterministic program says the same of it every time."""
    by_image = {PurePosixPath(one.body["image"]["key"]).name: one for one in seen}
    return total(compare(expected[name], one.rows) for name, one in by_image.items())
