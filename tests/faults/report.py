"""How does what a run came to stand in docs/faults.md?"""

import os
import platform
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import confluent_kafka

from consumer import __version__
from tests.faults.cells import cells
from tests.faults.trial import Report
from tests.rigs.kafka_jars import kafka_version

BEGIN, END = "<!-- written by tests/faults: begin -->", "<!-- written by tests/faults: end -->"
COLUMNS = (
    "cell",
    "protocol",
    "jobs",
    "faults struck",
    "lost",
    "duplicated",
    "out of order",
    "other",
    "first outcome after, s",
    "all partitions after, s",
    "run, s",
    "RSS, MiB",
    "seed",
)
_KEY = (0, 1, 12)  # cell, protocol, seed


def row_of(report: Report) -> list[str]:
    """A line of the table; recovery is median / maximum over the strikes."""
    judged, run = report.judgement, report.run
    counts = [len(judged.lost), len(judged.duplicated), len(judged.out_of_order)]
    kinds = Counter(report.struck)
    struck = ", ".join(f"{count} × {name}" for name, count in kinds.items())
    return [
        run.cell.name,
        run.protocol,
        str(report.jobs),
        struck,
        *map(str, counts),
        _other(report),
        _seconds(recovery.first for recovery in report.recoveries),
        _seconds(recovery.every for recovery in report.recoveries),
        f"{report.seconds:.0f}",
        str(report.peak_bytes >> 20),
        str(run.seed),
    ]


def versions() -> str:
    librdkafka = confluent_kafka.libversion()[0]
    return (
        f"Apache Kafka {kafka_version()}, confluent-kafka {confluent_kafka.version()} with librdkafka {librdkafka}, "
        f"Python {platform.python_version()}, inspection-consumer {__version__}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.machine()}"
    )


def write(reports: Iterable[Report], page: Path) -> None:
    """Put the rows between the page's markers. A row of the same cell, protocol and seed is replaced; the others stay
    as long as they were made with the same versions."""
    text = page.read_text()
    before, _, rest = text.partition(BEGIN)
    old, _, after = rest.partition(END)
    stated = f"With {versions()}."
    rows = {_key(row): row for row in _rows_of(old)} if stated in old else {}
    rows |= {_key(row): row for row in map(row_of, reports)}
    order = [cell.name for cell in cells()]
    keys = sorted(rows, key=lambda key: (order.index(key[0]) if key[0] in order else len(order), *key))
    table = [list(COLUMNS), ["---"] * len(COLUMNS), *(rows[key] for key in keys)]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in table)
    page.write_text(f"{before}{BEGIN}\n{stated}\n\n{lines}\n{END}{after}")


def _rows_of(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r" \| ", line.strip("| "))] for line in lines[2:]]


def _key(row: list[str]) -> tuple[str, ...]:
    return tuple(row[index] for index in _KEY)


def _other(report: Report) -> str:
    """What else the verdict says, in a few words."""
    judged = vars(report.judgement)
    shown = ("lost", "duplicated", "out_of_order")
    found = [f"{len(all_)} {name.replace('_', ' ')}" for name, all_ in judged.items() if all_ and name not in shown]
    return ", ".join(found) or "0"


def _seconds(recoveries: Iterable[float | None]) -> str:
    """Median / maximum; a strike with nothing left to do after it has no recovery."""
    known = [seconds for seconds in recoveries if seconds is not None]
    return f"{median(known):.1f} / {max(known):.1f}" if known else "–"


def failure_of(report: Report) -> str:
    """All that is needed to find out why, and the command that runs it again."""
    history = report.history
    story = ["RED", str(report.judgement), *history.lines, f"kept in {history.folder}"]
    return "\n".join([*story, f"run it again: {report.run.command}"])
