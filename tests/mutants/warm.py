"""How do many runs of pytest share the start of one? A script: it imports what is slow, then forks for each run.

It imports nothing of ours, so that each run finds the sources as they are by then. A line of its input is a run, as
JSON: {"arguments": […], "environment": {…}, "output": path, "longest": seconds or null}; it answers with the exit code,
124 for a run that came to no end.
"""

import contextlib
import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

SLOW = ("boto3", "confluent_kafka.admin", "cv2", "hypothesis", "msgspec", "numpy", "obstore.store", "pydantic_settings")
NO_END = 124
LOOK_EVERY = 0.02


def main() -> None:
    import pytest

    for name in (*SLOW, "prometheus_client", "pytest_timeout", "rich.console", "typer"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    for line in sys.stdin:
        order = json.loads(line)
        if (child := os.fork()) == 0:
            os._exit(_run(pytest, order))
        sys.stdout.write(f"{_wait(child, order['longest'])}\n")
        sys.stdout.flush()


def _run(pytest: Any, order: dict[str, Any]) -> int:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, wanted in enumerate((nothing, output, output)):
        os.dup2(wanted, number)
    os.environ.update(order["environment"])
    code = int(pytest.main(order["arguments"]))
    sys.stdout.flush()
    return code


def _wait(child: int, longest: float | None) -> int:
    until = time.monotonic() + (longest or float("inf"))
    try:
        while time.monotonic() < until:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(LOOK_EVERY)
    except SystemExit:
        os.killpg(child, signal.SIGKILL)
        raise
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return NO_END


if __name__ == "__main__":
    if str(Path(__file__).parent) in sys.path:
        raise SystemExit("start it with -P: names of this folder are no modules")
    main()
