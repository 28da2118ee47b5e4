"""How long does an image hold Python's lock? `python -m benchmarks.gil`, with `pip install py-spy` in its environment.

py-spy looks a hundred times a second who holds the lock of a consumer whose engine answers at once, while jobs are
waiting. Share of looks x seconds ÷ images is the time that an image holds it, in the functions that are printed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.__main__ import CACHE
from benchmarks.cases import all_cases
from benchmarks.programs import running
from benchmarks.servers import BUCKET, Servers
from benchmarks.trial import PARTITIONS
from benchmarks.watcher import Watcher
from tests.rigs.jobs import job
from tests.rigs.topics import create_topics

SECONDS, LOOKS = 20, 100
WARM, JOBS = 2_000, 30_000
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
            topics.publish([job(BUCKET, keys[number % len(keys)], job_id=f"job-{number}") for number in range(JOBS)])
            watcher.take(WARM, within=120, check=programs.check)
            before = programs.stages()["total"][1]
            looks = _looks(spy, programs.process_ids[0], folder / "looks")
            images = programs.stages()["total"][1] - before
    held = sum(looks.values()) / (SECONDS * LOOKS)
    print(f"{images / SECONDS:.0f} images/s, the lock is held {held:.0%} of the time")
    print(f"{held * SECONDS / images * 1e6:.0f} us an image, of which:")
    for function, count in looks.most_common(SHOWN):
        print(f"{count / sum(looks.values()):6.1%}  {function}")
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _looks(spy: str, process: int, file: Path) -> Counter[str]:
    """How often which function held the lock."""
    command = [spy, "record", "--gil", "--rate", str(LOOKS), "--duration", str(SECONDS), "--format", "raw"]
    subprocess.run([*command, "--output", str(file), "--pid", str(process)], check=True, capture_output=True)
    found: Counter[str] = Counter()
    for line in file.read_text(encoding="utf-8").splitlines():
        stack, _, count = line.rpartition(" ")
        found[stack.rpartition(";")[2]] += int(count)
    return found


if __name__ == "__main__":
    sys.exit(main())
