"""Which port may a server take, and keep over a restart?"""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

# Below the range from which Linux (32768 and up) and macOS (49152 and up) take the source ports of outgoing
# connections: a client reconnecting to a stopped server could else sit on that server's own port.
_RANGE = range(15_000, 32_000)
_random = random.SystemRandom()
_held: list[int] = []  # open descriptors: a port stays ours, across processes, until this one ends


def free_port() -> int:
    """Return a port on 127.0.0.1 that nobody listens on and no other demo or test run is given meanwhile."""
    for _ in range(1_000):
        port = _random.choice(_RANGE)
        if _is_reserved(port) and _is_free(port):
            return port
    raise OSError(f"no free port in {_RANGE}")


def _is_reserved(port: int) -> bool:
    folder = Path(tempfile.gettempdir()) / f"inspection-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    lock = os.open(folder / str(port), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False
    _held.append(lock)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
