"""Does a process end whose loop stands still, whatever holds it, and only then?"""

import subprocess
import sys

import pytest

# A process whose loop is `WORK`; what stands still for 0.2 s is no longer alive, and ends after one more second.
PROGRAM = """
import ctypes, sys, threading
from consumer import health, process
from consumer.metrics import Metrics
from consumer.settings import Settings

health.STALL, process.FROZEN, process.SIGNALS_SEEN_EVERY = 0.2, 1.0, 0.05
settings = Settings.model_validate({"http": {"port": 0}, "images": {"allowed_buckets": ["*"]}})
metrics = Metrics()
alive = health.Health(metrics, ())
running = process.Process(settings, alive, metrics)

def frozen():  # with the interpreter's lock, as librdkafka's consumer_group_metadata
    alive.turned()
    running.stopping.wait(0.2)
    ctypes.PyDLL(None).pause()

def standing():
    alive.turned()
    threading.Event().wait()

def turning():
    for _ in range(30):
        alive.turned()
        threading.Event().wait(0.1)

def draining():
    running.stopping.set()
    turning()

def starting():  # weights may take minutes
    running.stopping.wait(3)

sys.exit(running.main(WORK))
"""


def end_of(work: str) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.replace("WORK", work)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("work", ["frozen", "standing"])
def test_a_process_whose_loop_stands_still_ends_and_leaves_its_stacks(work: str) -> None:
    done = end_of(work)

    assert done.returncode == 1
    assert "Timeout (0:00:01)!" in done.stderr
    assert f" in {work}" in done.stderr


@pytest.mark.parametrize("work", ["turning", "starting", "draining"])
def test_a_process_that_starts_turns_or_drains_does_so_for_as_long_as_it_likes(work: str) -> None:
    done = end_of(work)

    assert (done.returncode, done.stderr.count("Timeout")) == (0, 0)
