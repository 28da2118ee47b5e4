"""Does a child end with the process that started it, however that ends?"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from consumer.leash import kill, last_line, spawn, tail
from tests.rigs.deadline import wait_until

_PARENT = """
import sys, time
from pathlib import Path
from consumer.leash import spawn
child = spawn(["sleep", "1000"], log=Path(sys.argv[1]))
print(child.pid, flush=True)
time.sleep(1000)
"""


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="other kernels have no signal for a parent's death")
def test_a_child_of_a_process_that_was_killed_is_killed_too(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, tmp_path / "log"], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    wait_until(lambda: _command(child) == "sleep", within=10, what="the child is a sleep")

    parent.kill()
    parent.wait()
    parent.stdout.close()

    wait_until(lambda: _command(child) != "sleep", within=10, what="the child is gone")


def test_a_ctrl_c_at_the_terminal_does_not_reach_a_child(tmp_path: Path) -> None:
    child = spawn(["sleep", "1000"], log=tmp_path / "log")
    try:
        assert os.getsid(child.pid) == child.pid != os.getsid(0)
    finally:
        kill(child)
    assert child.returncode == -signal.SIGKILL


def test_what_a_child_said_last_is_one_line(tmp_path: Path) -> None:
    log = tmp_path / "log"

    spawn(["sh", "-c", "echo one; echo two >&2; echo"], log=log).wait()

    assert last_line(log) == "two"
    assert tail(log, lines=3).splitlines()[1:] == ["one", "two"]
    assert last_line(tmp_path / "none") == "its log is empty"


def _command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
