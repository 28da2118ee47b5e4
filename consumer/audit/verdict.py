"""Is a difference larger than a person allows?"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

from consumer.audit.diff import Difference


@dataclass(frozen=True, slots=True)
class Allowed:
    """The most that is borne of each; None: of that one, anything.

    With any of them, jobs of the base that the candidate has no outcome of are not borne either, unless `missing` says
    how many: what was not compared proves nothing.
    """

    changed: float | None = None  # share of the jobs compared
    vanished: int | None = None
    appeared: int | None = None
    class_changed: int | None = None
    moved: int | None = None
    shifted: int | None = None
    died: int | None = None
    different_bytes: int | None = None
    missing: int | None = None

    def exceeded(self, difference: Difference) -> Iterator[str]:
        """What is beyond, each in a few words."""
        counts: dict[str, float] = dict(difference.changes)
        counts |= {"changed": difference.changed_ratio}
        counts |= {name: difference.jobs[name] for name in ("died", "different_bytes", "missing")}
        limits = {field.name: getattr(self, field.name) for field in fields(self)}
        if any(limit is not None for limit in limits.values()) and self.missing is None:
            limits["missing"] = 0
        for name, limit in limits.items():
            if limit is not None and (count := counts.get(name, 0)) > limit:
                yield f"{name.replace('_', ' ')} {count:.4g}, allowed {limit:.4g}"
