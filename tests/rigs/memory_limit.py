"""How does a test put a process under a memory limit that the kernel keeps by killing it?"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_V1 = Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")


class NoMemoryLimit(RuntimeError):
    """This machine does not let us make a cgroup with a limit; the message says why."""


@contextmanager
def memory_limit(limit: int) -> Iterator[Path]:
    """A cgroup whose processes have `limit` bytes of memory between them; a process joins by writing its number (or 0
    for itself) into the file that is given. Raises NoMemoryLimit."""
    folder = _root() / f"inspection-tests-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
        (folder / ("memory.limit_in_bytes" if _V1.exists() else "memory.max")).write_text(str(limit))
    except OSError as error:
        raise NoMemoryLimit(f"no cgroup of our own: {error}") from error
    try:
        yield folder / "cgroup.procs"
    finally:
        folder.rmdir()  # its processes have ended by now


def _root() -> Path:
    if _V1.exists():
        return _V1.parent
    if "memory" in _text(Path("/sys/fs/cgroup/cgroup.subtree_control")).split():
        return Path("/sys/fs/cgroup")
    raise NoMemoryLimit("no memory controller under /sys/fs/cgroup that we may use")


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""
