"""Which cgroups hold this process, innermost first?

A limit may stand in any group on the way up from ours; inside a container ours may look like the root.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MOUNTS = "sys/fs/cgroup"
"""Of v2; in it a folder for each controller is the mount of v1's."""


def groups(root: Path, controller: str) -> Iterator[PurePosixPath]:
    """The path of each below its mount; `controller` chooses among the hierarchies of v1."""
    for group in _own(root / "proc/self/cgroup", controller):
        yield from (group, *group.parents)


def read(file: Path) -> str:
    """What a file of the kernel says, nothing if there is none."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _own(file: Path, controller: str) -> Iterator[PurePosixPath]:
    yield PurePosixPath()
    for line in read(file).splitlines():  # `0::/group`, or `4:cpu,cpuacct:/group` in v1
        _, controllers, path = line.split(":", 2)
        if not controllers or controller in controllers.split(","):
            yield PurePosixPath(path.lstrip("/"))
