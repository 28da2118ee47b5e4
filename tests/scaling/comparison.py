"""How far is a plan from what replicas did, and how does that stand in docs/scaling.md?"""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from consumer import __version__
from consumer.planning.capacity import Capacity, capacity_of
from consumer.planning.measurements import Measurements
from consumer.planning.question import Question, with_settings
from consumer.settings import Settings
from tests.rigs.kafka_jars import kafka_version
from tests.scaling.trial import Case, Seen

BEGIN, END = "<!-- written by tests/scaling: begin -->", "<!-- written by tests/scaling: end -->"
# What replicas did by what was planned. A replica short of jobs in hand may fall into step (all its jobs start and are
# delivered together), which is faster than what is planned.
CLOSE = {"engine": (0.85, 1.15), "jobs in hand": (0.85, 1.5)}
COLUMNS = (
    "limit",
    "replicas",
    "planned images/s",
    "seen",
    "seen ÷ planned",
    "CPU planned, ms",
    "seen, ms",
    "commit, ms",
)


@dataclass(frozen=True)
class Compared:
    """`commit` is the brokers', as it was seen in that very run: a plan is told it, as it is told the round trip."""

    case: Case
    capacity: Capacity
    measured: Measurements
    commit: float
    seen: Seen | None = None

    @property
    def planned(self) -> float:
        return self.case.replicas * self.capacity.rate

    @property
    def cpu_seconds(self) -> float:
        """Of an image, with what the replica takes for itself shared out among its images."""
        return self.capacity.cpu_seconds + self.measured.work.standing / self.capacity.rate

    @property
    def ratio(self) -> float:
        return self.seen.rate / self.planned if self.seen else 0.0

    @property
    def is_close(self) -> bool:
        least, most = CLOSE[self.case.limit]
        return least <= self.ratio <= most and self.capacity.limit == self.case.limit

    @property
    def line(self) -> str:
        seen = self.seen or Seen(0, 0, 0)
        cells = [
            self.capacity.limit,
            str(self.case.replicas),
            f"{self.planned:.1f}",
            f"{seen.rate:.1f}",
            f"{self.ratio:.2f}",
            f"{1000 * self.cpu_seconds:.2f}",
            f"{1000 * seen.cpu_seconds:.2f}",
            f"{1000 * self.commit:.0f}",
        ]
        return f"| {' | '.join(cells)} |"


def compare(
    case: Case, settings: Settings, measured: Measurements, *, commit: float, seen: Seen | None = None
) -> Compared:
    """The store of the trial is on this machine: its round trip is within what a GET takes."""
    question = Question(rate=1, cores=measured.cores, s3_round_trip=0.002, commit=commit)
    return Compared(case, capacity_of(with_settings(question, settings), measured), measured, commit, seen)


def write(rows: Sequence[Compared], page: Path) -> None:
    """Put the table between the page's markers."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    stated = (
        f"With Apache Kafka {kafka_version()}, Python {platform.python_version()}, inspection-consumer {__version__}."
    )
    table = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}", *(row.line for row in rows)]
    page.write_text(f"{before}{BEGIN}\n{stated}\n\n" + "\n".join(table) + f"\n{END}{after}")
