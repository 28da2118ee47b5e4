"""How is a child process started so that it never outlives the test run, even one killed with -9?"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# Runs between fork and exec of the real command and keeps its process id. A preexec_fn would do the
# same inside the test process, where librdkafka's threads make Python code after a fork unsafe.
_LEASH = """
import ctypes, os, signal, sys
parent, command = int(sys.argv[1]), sys.argv[2:]
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() != parent:
    sys.exit(1)
os.execvp(command[0], command)
"""


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command` with its output appended to `log`.

    The kernel kills the child when the *thread* that started it ends, so start long-lived servers from
    the main thread.
    """
    leash = [sys.executable, "-I", "-S", "-c", _LEASH, str(os.getpid())]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*leash, *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(os.environ if environment is None else environment),
            cwd=folder,
        )


def kill(process: subprocess.Popen[bytes]) -> None:
    """End it now, stopped or not, and reap it."""
    if process.poll() is None:
        process.kill()
    process.wait()


def send(process: subprocess.Popen[bytes], what: signal.Signals) -> None:
    """Send a signal to a process that must still be there."""
    if process.poll() is not None:
        raise ProcessLookupError(f"{process.args!r} has already ended with {process.returncode}")
    process.send_signal(what)


def tail(log: Path, lines: int = 40) -> str:
    """Return the last lines of a log for an error message."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return f"--- last lines of {log} ---\n" + "\n".join(text.splitlines()[-lines:])
