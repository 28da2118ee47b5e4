"""Was every promise kept in a cell, by all that was seen of it?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from tests.faults.jobs import Draft
from tests.rigs.outcomes import Outcome, Source, judge


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that a cell leaves behind."""

    prints: Mapping[Source, str]
    """The jobs that are on the topic, with what their outcomes are known by."""
    reasons: Mapping[Source, str]
    """The bad ones among them, with the reason that each dead letter must have."""
    allowed: Mapping[Source, str]
    """Dead letters that a fault may cost, by the fault's own declaration."""
    concurrent: Sequence[Outcome]
    """In the order in which the reader saw them that read while the cell was struck."""
    final: Sequence[Outcome]
    committed: Mapping[int, int | None]
    ends: Mapping[int, int]
    """Where the log of each partition of the jobs topic ends, transaction markers counted."""
    moved_from: int | None = None
    """From this partition on outcomes may lie on two output partitions: it was added, and processes started since."""
    unexpected: tuple[str, ...] = ()
    """Processes that ended, strikes that did not come to their end."""
    unready: tuple[str, ...] = ()
    peak_bytes: int = 0
    most_bytes: int


@dataclass(frozen=True)
class Judgement:
    """Every tuple is empty where the promises held."""

    lost: tuple[Source, ...]
    duplicated: tuple[Source, ...]
    out_of_order: tuple[Source, ...]
    unknown: tuple[Source, ...]
    scattered: tuple[tuple[str, int], ...]
    causeless: tuple[tuple[Source, str], ...]
    """Dead letters of jobs that are not bad, or with another reason than theirs; results of bad jobs."""
    mixed_up: tuple[Source, ...]
    """Outcomes with another job's content, and images that were answered in more than one way."""
    unstable: tuple[Source, ...]
    """What only one of the two readers saw."""
    behind: tuple[str, ...]
    """Partitions whose committed offset is not the end of their log."""
    unexpected: tuple[str, ...]
    stuck: tuple[str, ...]
    swollen: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        return not any(getattr(self, each.name) for each in fields(self))

    def __str__(self) -> str:
        found = {each.name: getattr(self, each.name) for each in fields(self) if getattr(self, each.name)}
        lines = [f"{name}: {len(all_)}, first ones: {all_[:3]}" for name, all_ in found.items()]
        return "\n".join(lines) or "clean"


def known_by(
    records: Mapping[Source, bytes], drafts: Mapping[bytes, Draft]
) -> tuple[dict[Source, str], dict[Source, str], list[str]]:
    """What is on the jobs topic: prints, the reasons of the bad ones, and what is wrong with it. A draft that is there
    twice is two jobs."""
    known = {source: drafts[value] for source, value in records.items() if value in drafts}
    prints = {source: draft.print_ for source, draft in known.items()}
    reasons = {source: draft.reason for source, draft in known.items() if draft.reason is not None}
    missing, foreign = len(drafts.keys() - set(records.values())), len(records) - len(known)
    trouble = {f"{missing} acknowledged jobs are not on the topic": missing, f"{foreign} jobs of nobody": foreign}
    return prints, reasons, [what for what, count in trouble.items() if count]


def judge_cell(evidence: Evidence) -> Judgement:
    final = judge(evidence.prints, evidence.final)
    seen_live = judge(evidence.prints, evidence.concurrent)
    return Judgement(
        lost=final.lost,
        duplicated=_union(final.duplicated, seen_live.duplicated),
        out_of_order=_union(final.out_of_order, tuple(_disordered(evidence.concurrent))),
        unknown=_union(final.unknown, seen_live.unknown),
        scattered=tuple(place for place in final.scattered if not _may_move(place[1], evidence.moved_from)),
        causeless=tuple(_causeless(evidence)),
        mixed_up=tuple(_mixed_up(evidence)),
        unstable=tuple(sorted({outcome.source for outcome in set(evidence.concurrent) ^ set(evidence.final)})),
        behind=tuple(_behind(evidence)),
        unexpected=evidence.unexpected,
        stuck=evidence.unready,
        swollen=tuple(_swollen(evidence)),
    )


def _union(one: tuple[Source, ...], other: tuple[Source, ...]) -> tuple[Source, ...]:
    return tuple(sorted({*one, *other}))


def _may_move(partition: int, moved_from: int | None) -> bool:
    return moved_from is not None and partition >= moved_from


def _disordered(seen: Sequence[Outcome]) -> list[Source]:
    """Jobs that came to the reader behind a later one of their partition on the same output partition."""
    newest: dict[tuple[str, int, int], Source] = {}
    found = []
    for outcome in seen:
        stream = outcome.topic, outcome.partition, outcome.source.partition
        last = newest.get(stream, outcome.source)
        if outcome.source < last:
            found.append(outcome.source)
        newest[stream] = max(last, outcome.source)
    return found


def _causeless(evidence: Evidence) -> list[tuple[Source, str]]:
    found = []
    for outcome in evidence.final:
        wanted, reason = evidence.reasons.get(outcome.source), outcome.reason
        is_allowed = reason is not None and evidence.allowed.get(outcome.source) == reason
        if reason != wanted and not is_allowed:
            found.append((outcome.source, f"{reason or 'a result'} instead of {wanted or 'a result'}"))
    return found


def _mixed_up(evidence: Evidence) -> list[Source]:
    answers: dict[str, bytes] = {}
    found = []
    for outcome in evidence.final:
        print_, _, answer = (outcome.value or b"").partition(b"\n")
        if outcome.reason is None:
            key = print_.decode().partition(" ")[2]
            if answers.setdefault(key, answer) != answer:
                found.append(outcome.source)
        is_same_kind = (outcome.reason is None) == (outcome.source not in evidence.reasons)
        if is_same_kind and print_.decode() != evidence.prints.get(outcome.source, print_.decode()):
            found.append(outcome.source)
    return found


def _behind(evidence: Evidence) -> list[str]:
    """Behind the last job nothing but markers can follow, so anything from there to the end is the end."""
    last: dict[int, int] = {}
    for source in evidence.prints:
        last[source.partition] = max(source.offset, last.get(source.partition, -1))
    found = []
    for partition, offset in sorted(last.items()):
        committed, end = evidence.committed.get(partition), evidence.ends.get(partition, offset + 1)
        if committed is None or not offset < committed <= end:
            found.append(f"partition {partition}: committed {committed}, last job {offset}, end {end}")
    return found


def _swollen(evidence: Evidence) -> list[str]:
    if evidence.peak_bytes <= evidence.most_bytes:
        return []
    return [f"a replica took {evidence.peak_bytes >> 20} MiB, bound {evidence.most_bytes >> 20} MiB"]
