"""How much CPU and memory have processes taken, with all their children? Linux says it in /proc."""

import os
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

_PROC = Path("/proc")
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Process:
    """One line of /proc; `cpu` is its own seconds and those of the children that it has waited for."""

    number: int
    parent: int
    cpu: float
    rss: int


def cpu_of(roots: Iterable[int]) -> float:
    """CPU seconds of the processes and of all below them."""
    return sum(process.cpu for process in below(roots))


def below(roots: Iterable[int]) -> list[Process]:
    everything = {process.number: process for process in _all()}
    wanted = set(roots) & everything.keys()
    found: set[int] = set()
    while wanted:
        found |= wanted
        wanted = {process.number for process in everything.values() if process.parent in wanted} - found
    return [everything[number] for number in found]


def child_with(word: str) -> int | None:
    """The child of this process whose command line holds a word."""
    for process in below([os.getpid()]):
        try:
            arguments = (_PROC / str(process.number) / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if word in arguments:
            return process.number
    return None


def _all() -> Iterable[Process]:
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            try:
                yield parse((folder / "stat").read_text())
            except OSError:  # it has just ended
                continue


def _rss(number: int) -> int:
    try:
        return parse((_PROC / str(number) / "stat").read_text()).rss
    except OSError:
        return 0


def parse(stat: str) -> Process:
    """Of /proc/N/stat; the name, which may hold anything, stands between the first ( and the last )."""
    number, _, rest = stat.partition(" (")
    fields = rest.rpartition(") ")[2].split()
    cpu = sum(int(ticks) for ticks in fields[11:15]) / _TICK
    return Process(int(number), int(fields[1]), cpu, int(fields[21]) * _PAGE)


@dataclass
class MemoryWatch:
    """Looks at the resident bytes of processes and all below them while its `with` lasts; what they share counts for
    each. `seen` is (seconds since its start, bytes)."""

    roots: Sequence[int]
    every: float = 0.5
    seen: list[tuple[float, int]] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        began = time.monotonic()
        numbers = [process.number for process in below(self.roots)]  # warm programs start no more of them
        while True:
            self.seen.append((round(time.monotonic() - began, 2), sum(map(_rss, numbers))))
            if self._over.wait(self.every):
                return
