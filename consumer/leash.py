"""How is a child process started so that it never outlives this one, even one killed with -9?"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# Runs between fork and exec of the real command and keeps its process id. A preexec_fn would do the
# same inside our own process, where librdkafka's threads make Python code after a fork unsafe.
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
    log: Path | None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command` with its output appended to `log`, or going where ours goes. A Ctrl-C at the terminal reaches us
    alone: we end it.

    The kernel (Linux) kills the child when the *thread* that started it ends, so start long-lived servers from
    the main thread.
    """
    leash = [sys.executable, "-I", "-S", "-c", _LEASH, str(os.getpid())]
    with log.open("ab") if log else contextlib.nullcontext() as output:
        return subprocess.Popen(  # noqa: S603  # no shell, and the command is the caller's
            [*leash, *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if log else None,
            env=dict(os.environ if environment is None else environment),
            cwd=folder,
            start_new_session=True,
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


def last_line(log: Path) -> str:
    """Return the last line of a log that says something, for a message of one line."""
    lines = [line.strip() for line in tail(log).splitlines()[1:]]
    return next((line for line in reversed(lines) if line), "its log is empty")
