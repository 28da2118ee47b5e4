"""What did a whole run measure, and how is it kept?"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from benchmarks.accuracy import Agreement
from benchmarks.cases import Case
from benchmarks.figures import Rounds
from benchmarks.samples import Failure, Sample
from benchmarks.workload import Workload


@dataclass
class Results:
    """Samples and failures of all cases by their keys and rounds, with what they were measured on."""

    about: dict[str, Any]
    cases: dict[str, Case] = field(default_factory=dict)
    rounds: dict[str, dict[int, Sample]] = field(default_factory=dict)
    failures: dict[str, dict[int, Failure]] = field(default_factory=dict)

    def add(self, case: Case, number: int, found: Sample | Failure) -> None:
        self.cases[case.key] = case
        if isinstance(found, Sample):
            self.rounds.setdefault(case.key, {})[number] = found
        else:
            self.failures.setdefault(case.key, {})[number] = found

    def of(self, case: Case) -> Rounds:
        return self.rounds.get(case.key, {})

    def like(self, case: Case, name: str) -> Rounds:
        """The samples of the case of this name under the same conditions."""
        for other in self.cases.values():
            if other.name == name and other.conditions == case.conditions and self.rounds.get(other.key):
                return self.rounds[other.key]
        return {}

    def groups(self) -> Iterator[tuple[str, list[Case]]]:
        """Cases by group and workload's size, in the order in which they were run."""
        found: dict[str, list[Case]] = {}
        for case in self.cases.values():
            title = case.workload.size if case.group in {"denominators", "pipeline", "people", "peers"} else case.group
            found.setdefault(title, []).append(case)
        yield from found.items()

    def write(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "about": self.about,
            "cases": [
                {
                    "case": asdict(case),
                    "samples": {number: asdict(sample) for number, sample in self.of(case).items()},
                    "failures": {n: failure.reason for n, failure in self.failures.get(key, {}).items()},
                }
                for key, case in self.cases.items()
            ],
        }
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> Self:
        content = json.loads(file.read_text(encoding="utf-8"))
        results = cls(content["about"])
        for entry in content["cases"]:
            case = Case(**(entry["case"] | {"workload": Workload(**entry["case"]["workload"])}))
            for number, sample in entry["samples"].items():
                agreement = sample["agreement"] and Agreement(**sample["agreement"])
                results.add(case, int(number), Sample(**(sample | {"agreement": agreement})))
            for number, reason in entry["failures"].items():
                results.add(case, int(number), Failure(reason=reason))
        return results
