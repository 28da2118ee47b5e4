"""What is one measurement of a case?"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.accuracy import Agreement


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One case in one round. `cpu` is seconds by process, `stages` mean wall seconds of a job, `memory` (seconds,
    bytes) since the first job, `latencies` seconds from publishing to being seen."""

    images: int
    seconds: float
    cpu: dict[str, float]
    rss: int = 0
    memory: Sequence[tuple[float, int]] = ()
    stages: dict[str, float] = field(default_factory=dict)
    latencies: dict[str, float] = field(default_factory=dict)
    agreement: Agreement | None = None

    @property
    def rate(self) -> float:
        return self.images / self.seconds

    def cpu_per_image(self, process: str) -> float | None:
        spent = self.cpu.get(process)
        return None if spent is None else spent / self.images


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a case has no numbers in a round."""

    reason: str
