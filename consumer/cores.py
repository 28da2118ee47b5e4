"""How many CPU cores may this process really use?

`os.cpu_count()` counts the machine's, also inside a container that may use half of one.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

from consumer.cgroup import MOUNTS, groups, read


def available_cores(root: Path = Path("/")) -> int:
    """The least of CPU affinity and the quotas of all enclosing cgroups (v1 and v2), rounded up, at least 1."""
    return max(1, math.ceil(min([_affinity(), *_quotas(root)])))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    mounts = root / MOUNTS
    for group in groups(root, "cpu"):
        yield from _quota_v2(mounts / group)
        for controller in ("cpu", "cpu,cpuacct"):
            yield from _quota_v1(mounts / controller / group)


def _quota_v2(folder: Path) -> Iterator[float]:
    quota, _, period = read(folder / "cpu.max").partition(" ")
    if quota and quota != "max":
        yield int(quota) / int(period)


def _quota_v1(folder: Path) -> Iterator[float]:
    quota, period = read(folder / "cpu.cfs_quota_us"), read(folder / "cpu.cfs_period_us")
    if quota and period and int(quota) > 0:
        yield int(quota) / int(period)
