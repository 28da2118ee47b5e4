"""What did a check find, and what should a person do about it?"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "red", "skipped"]
SIGNS: dict[State, str] = {"ok": "✓", "warning": "!", "red": "✗", "skipped": "-"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line about one thing: the fact and, unless it is ok, the advice. Only `red` keeps jobs from being done."""

    name: str
    state: State
    fact: str
    advice: str = ""

    @property
    def line(self) -> str:
        fact = " ".join(self.fact.split())  # libraries break lines
        return f"{SIGNS[self.state]} {self.name} — {fact}" + (f" → {self.advice}" if self.advice else "")


def ok(name: str, fact: str) -> Finding:
    return Finding(name, "ok", fact)


def warning(name: str, fact: str, advice: str) -> Finding:
    return Finding(name, "warning", fact, advice)


def red(name: str, fact: str, advice: str) -> Finding:
    return Finding(name, "red", fact, advice)


def skipped(name: str, why: str) -> Finding:
    return Finding(name, "skipped", f"not looked at: {why}")


def is_red(findings: Iterable[Finding]) -> bool:
    return any(finding.state == "red" for finding in findings)
