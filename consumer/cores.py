"""How many CPU cores may this process really use?

`os.cpu_count()` counts the machine's, also inside a container that may use half of one.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path


def available_cores(root: Path = Path("/")) -> int:
    """The least of CPU affinity and the quotas of all enclosing cgroups (v1 and v2), rounded up, at least 1."""
    return max(1, math.ceil(min([_affinity(), *_quotas(root)])))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """A limit may stand in any group on the way up from ours; inside a container ours may look like the root."""
    mounts = root / "sys/fs/cgroup"
    for group in _groups(root / "proc/self/cgroup"):
        for folder in (group, *group.parents):
            yield from _quota_v2(mounts / folder)
            for controller in ("cpu", "cpu,cpuacct"):
                yield from _quota_v1(mounts / controller / folder)


def _groups(file: Path) -> Iterator[Path]:
    yield Path()
    for line in _read(file).splitlines():  # `0::/group`, or `4:cpu,cpuacct:/group` in v1
        _, controllers, path = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            yield Path(path.lstrip("/"))


def _quota_v2(folder: Path) -> Iterator[float]:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    if quota and quota != "max":
        yield int(quota) / int(period)


def _quota_v1(folder: Path) -> Iterator[float]:
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    if quota and period and int(quota) > 0:
        yield int(quota) / int(period)


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
