"""How much memory and how many threads may this process have, and how much memory can its settings ask for?"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from consumer.cgroup import MOUNTS, groups, read


@dataclass(frozen=True, slots=True)
class Demand:
    """Bytes that one process may hold at once: `resident` with its engine loaded, `fetched` images that wait for
    decoding, `images` of the largest size as pixels (one per core), and the slots of batches."""

    resident: int
    fetched: int
    images: int
    image: int
    slots: int

    @property
    def most(self) -> int:
        """When every limit is used to the full at the same time."""
        return self.resident + self.fetched + self.images * self.image + self.slots

    @property
    def least(self) -> int:
        """What it cannot do with less of: its budget of fetched images, and one of the largest as pixels."""
        return self.resident + self.fetched + self.image + self.slots


def memory_limit(root: Path = Path("/")) -> int | None:
    """Bytes: the least of all enclosing cgroups (v1 and v2) and of the machine; None where nobody says."""
    lines = read(root / "proc/meminfo").splitlines()
    machine = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:")]  # `MemTotal:  16305 kB`
    return min([*machine, *_limits(root, "memory", "memory.max", "memory.limit_in_bytes")], default=None)


def thread_limit(root: Path = Path("/")) -> int | None:
    """The least of all enclosing cgroups; None without one."""
    return min(_limits(root, "pids", "pids.max", "pids.max"), default=None)


def resident_memory(root: Path = Path("/")) -> int | None:
    """Bytes of this process that are in memory now."""
    words = read(root / "proc/self/statm").split()
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE") if words else None


def _limits(root: Path, controller: str, file_v2: str, file_v1: str) -> Iterator[int]:
    for group in groups(root, controller):
        for file in (group / file_v2, PurePosixPath(controller) / group / file_v1):
            text = read(root / MOUNTS / file)
            if text and text != "max":  # v1 says it with a number beyond all memory
                yield int(text)
