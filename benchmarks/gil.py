"""How long does an image hold Python's lock? `python -m benchmarks.gil`, with `pip install py-spy` in its environment.

py-spy looks some hundred times a second who holds the lock of a consumer whose engine answers at once: idle first, then
at a steady rate that leaves the cores room, so that nobody who holds it waits for one. Share of looks x seconds divided
by images, less what is held when idle, is the time that an image holds it; the functions are those of its holders.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.__main__ import CACHE
from benchmarks.cases import all_cases
from benchmarks.programs import running
from benchmarks.servers import BUCKET, Servers
from benchmarks.trial import PARTITIONS
from benchmarks.watcher import Watcher
from tests.rigs.jobs import job
from tests.rigs.topics import Topics, create_topics

SECONDS, LOOKS = 20, 400
WARM, RATE = 500, 80
STEP = 0.05  # seconds
SHOWN = 12


def main() -> int:
    spy = shutil.which("py-spy", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if spy is None:
        sys.stderr.write(f"py-spy is missing: {sys.executable} -m pip install py-spy\n")
        return 2
    (case, *_) = [case for case in all_cases() if case.name == "pipeline, null engine"]
    folder = Path(tempfile.mkdtemp(prefix="inspection-bench-"))
    with Servers(folder, CACHE) as servers:
        keys = servers.keys(case.workload)
        topics = create_topics(servers.kafka.bootstrap_servers, "bench-gil", partitions=PARTITIONS)
        with running(case, servers, topics, folder) as programs, Watcher(topics) as watcher:
            jobs = [job(BUCKET, key) for key in keys]
            topics.publish([jobs[number % len(jobs)] for number in range(WARM)])
            watcher.take(WARM, within=120, check=programs.check)
            idle = sum(_looks(spy, programs.process_ids[0], folder / "idle").values()) / (SECONDS * LOOKS)
            before = programs.stages()["total"][1]
            with _steadily(topics, jobs):
                looks = _looks(spy, programs.process_ids[0], folder / "looks")
            images = programs.stages()["total"][1] - before
    held = sum(looks.values()) / (SECONDS * LOOKS)
    print(f"{images / SECONDS:.0f} images/s, the lock is held {held:.1%} of the time, {idle:.1%} when idle")
    print(f"{(held - idle) * SECONDS / images * 1e6:.0f} us an image; of all looks:")
    for function, count in looks.most_common(SHOWN):
        print(f"{count / sum(looks.values()):6.1%}  {function}")
    shutil.rmtree(folder, ignore_errors=True)
    return 0


@contextmanager
def _steadily(topics: Topics, jobs: Sequence[bytes]) -> Iterator[None]:
    """`RATE` jobs a second, from a thread."""
    over = threading.Event()

    def publish() -> None:
        began, sent = time.monotonic(), 0
        while not over.wait(STEP):
            wanted = int((time.monotonic() - began) * RATE)
            topics.publish([jobs[number % len(jobs)] for number in range(sent, wanted)])
            sent = wanted

    thread = threading.Thread(target=publish, name="publish")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _looks(spy: str, process: int, file: Path) -> Counter[str]:
    """How often which function held the lock."""
    command = [
        spy,
        "record",
        "--nonblocking",
        "--gil",
        "--rate",
        str(LOOKS),
        "--duration",
        str(SECONDS),
        "--format",
        "raw",
    ]
    subprocess.run([*command, "--output", str(file), "--pid", str(process)], check=True, capture_output=True)
    found: Counter[str] = Counter()
    for line in file.read_text(encoding="utf-8").splitlines():
        stack, _, count = line.rpartition(" ")
        found[stack.rpartition(";")[2]] += int(count)
    return found


if __name__ == "__main__":
    sys.exit(main())
