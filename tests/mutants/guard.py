"""What is a guard, how is it taken out, and which tests must notice?"""

from collections.abc import Iterable
from dataclasses import dataclass

PROTOCOLS = ("classic", "consumer")
WITHOUT_BROKER = "-"
PLACE = "{protocol}"
"""Stands in a test's id for the client protocol where the test has a parameter of that name."""

DELIVERY = "tests/integration/test_delivery.py"
GUARDS = "tests/integration/test_guards.py"
HOLDING = "tests/integration/test_holding.py"
UNIT = "tests/unit"
KAFKA_UNIT = "tests/unit/kafka"


@dataclass(frozen=True)
class Edit:
    """A replacement in the text of one file; `old` stands there exactly once."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Guard:
    """One rule, and what the code looks like without it. More than one edit is for rules that are kept twice."""

    name: str
    rule: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    protocols: tuple[str, ...] = PROTOCOLS
    """Those of the group that its tests are run with; () where no broker is needed."""

    def cases(self) -> tuple[str, ...]:
        return self.protocols or (WITHOUT_BROKER,)

    def ids(self, protocol: str) -> list[str]:
        """What pytest is given."""
        return [test.replace(PLACE, protocol) for test in self.tests]


def without_broker(name: str, rule: str, edit: Edit, *tests: str) -> Guard:
    return Guard(name, rule, (edit,), tests, protocols=())


def on_broker(name: str, rule: str, edit: Edit, *tests: str, protocols: tuple[str, ...] = PROTOCOLS) -> Guard:
    return Guard(name, rule, (edit,), tests, protocols=protocols)


def named(file: str, *tests: str) -> tuple[str, ...]:
    return tuple(f"{file}::test_{test}" for test in tests)


def all_different(guards: Iterable[Guard]) -> tuple[Guard, ...]:
    """Raises ValueError for a name that is there twice."""
    known: dict[str, Guard] = {}
    for guard in guards:
        if known.setdefault(guard.name, guard) is not guard:
            raise ValueError(f"there are two guards named {guard.name}")
    return tuple(known.values())
