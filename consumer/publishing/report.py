"""What is to be said at the end of a publication, and did all go well?"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from consumer.publishing.following import Awaited
from consumer.publishing.publication import Publication


@dataclass(frozen=True)
class PublicationReport:
    """What was done: in words, as JSON, and what of it a person must look at. `outcomes` where they were followed."""

    topic: str
    publication: Publication
    skipped: Counter[str]
    outcomes: Awaited | None

    @property
    def lines(self) -> list[str]:
        count = self.publication.acknowledged
        seconds = self.publication.seconds
        pace = f" ({count / seconds:,.0f}/s)" if count > 1 and seconds > 0 else ""
        lines = [f"published {count:,} job{'' if count == 1 else 's'} to {self.topic} in {seconds:.1f} s{pace}"]
        if self.skipped:
            lines.append(f"skipped: {_counts(self.skipped)}")
        if (outcomes := self.outcomes) is not None:
            dead = _counts(outcomes.dead_letters)
            letters = f"{outcomes.dead_letters.total():,} dead letters" + (f" ({dead})" if dead else "")
            lines.append(f"outcomes: {outcomes.results:,} results, {letters}, {outcomes.missing:,} missing")
        return lines

    @property
    def fields(self) -> dict[str, Any]:
        unsent, outcomes = self.publication.unsent, self.outcomes
        file = None if unsent.path is None else str(unsent.path)
        lost = {"kept": unsent.kept, "error": unsent.fault} if unsent.fault else {}
        fields: dict[str, Any] = {
            "topic": self.topic,
            "published": self.publication.acknowledged,
            "unsent": {"count": unsent.count, "file": file, "first": unsent.first, **lost},
            "skipped": dict(self.skipped),
            "seconds": round(self.publication.seconds, 3),
        }
        if outcomes is not None:
            fields["outcomes"] = {
                "results": outcomes.results,
                "dead_letters": dict(outcomes.dead_letters),
                "missing": outcomes.missing,
            }
        return fields

    @property
    def open_ends(self) -> list[str]:
        """For one that ended early: how far it came. Going on behind that job and sending the file loses none."""
        last = self.publication.last
        return [f"the last job taken was {last.uri}" if last else "no job was taken", *self._not_sent()]

    def problems(self, patience: float) -> list[str]:
        """Why it is no success; `patience` is how long an outcome was waited for."""
        return [*self._not_sent(), *self._not_done(patience)]

    def _not_sent(self) -> list[str]:
        unsent = self.publication.unsent
        if not unsent.count:
            return []
        rest = unsent.count - len(unsent.first)
        named = "; ".join([*unsent.first, *([f"and {rest:,} more"] if rest else [])])
        fact = f"{unsent.count:,} of {self.publication.taken:,} jobs were not sent ({named})"
        if unsent.fault is None:
            return [f"{fact}, send them with: consumer publish - < {unsent.path}"]
        where = f"the first {unsent.kept:,} of them alone stand in {unsent.path}" if unsent.path else "no file has them"
        return [f"{fact}, {self.publication.acknowledged:,} were acknowledged; {where}: {unsent.fault}"]

    def _not_done(self, patience: float) -> list[str]:
        outcomes, problems = self.outcomes, []
        if outcomes is None:
            return []
        if outcomes.missing:
            places = ", ".join(f"{self.topic}/{partition}/{offset}" for partition, offset in outcomes.first_missing(3))
            problems.append(f"{outcomes.missing:,} outcomes are missing ({places}): none came for {patience:g} s")
        if letters := outcomes.dead_letters.total():
            problems.append(
                f"{letters:,} of {self.publication.acknowledged:,} jobs are dead letters: consumer deadletters list"
            )
        return problems


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
