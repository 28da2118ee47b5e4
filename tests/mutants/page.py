"""What does docs/guards.md say of the last run over all guards?"""

import os
import platform
from collections.abc import Sequence
from pathlib import Path

import confluent_kafka

from tests.mutants.bench import Finding
from tests.mutants.guard import Guard
from tests.rigs.kafka import EXTERNAL_VARIABLE, kafka_source

BEGIN = "<!-- made by `make mutants`, from here on -->"
END = "<!-- to here -->"


def write(page: Path, found: Sequence[tuple[Guard, str, Finding]]) -> None:
    """Put the table between the page's marks; what stands around it is kept."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{_table(found)}\n{END}{after}", encoding="utf-8")


def _table(found: Sequence[tuple[Guard, str, Finding]]) -> str:
    survived = sum(finding.failed is None for _, _, finding in found)
    kafka = f"the Kafka of {EXTERNAL_VARIABLE}" if EXTERNAL_VARIABLE in os.environ else kafka_source()
    versions = (
        f"Python {platform.python_version()}, confluent-kafka {confluent_kafka.__version__}, "
        f"librdkafka {confluent_kafka.libversion()[0]}, {kafka}"
    )
    lines = [
        "",
        (
            f"`make mutants`: {len({guard.name for guard, _, _ in found})} guards, {len(found)} cases, "
            f"{survived} survived. {versions}."
        ),
        "",
        "| guard | rule | protocol | noticed by | seconds |",
        "|---|---|---|---|---:|",
    ]
    for guard, protocol, finding in found:
        noticed = f"`{_short(finding.failed)}`" if finding.failed else "**survived**"
        lines.append(f"| {guard.name} | {guard.rule} | {protocol} | {noticed} | {finding.seconds:.0f} |")
    return "\n".join(lines)


def _short(test: str) -> str:
    """A test's id without its folder."""
    return test.rpartition("/")[2] if "::" in test else test
