"""How do dead letters become jobs again, each of them once?

Nothing is kept beside Kafka. A redriven job says in a header which dead letter it comes from, and lies in the partition
of the failed one, behind it. So before anything is sent the jobs topic is read from the oldest failed job on, and dead
letters that were redriven already are left alone. Values are not held meanwhile: they are read again for the sending.
"""

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Literal

from consumer.errors import SettingsError, Unavailable
from consumer.kafka.publisher import Acknowledged, Publisher, Report
from consumer.kafka.reader import Place, Reader
from consumer.messages import JOB_ID_HEADER, JOB_INDEX_HEADER, Headers, Record
from consumer.outcomes import ORIGINAL_PREFIX, REDRIVEN_PREFIX, DeadLetterView
from consumer.publishing.publication import FAREWELL, Pacer
from consumer.publishing.stopping import Stopping
from consumer.settings import Settings
from consumer.watching.originals import AT_ONCE, Where, read_records, where_of

FROM_HEADER = f"{REDRIVEN_PREFIX}from"
_LOOK = 0.1

Obstacle = Literal["another topic", "redriven already", "too often", "too old to tell", "original gone"]

WHY: Mapping[Obstacle, str] = {
    "another topic": "the job came from another topic than topics.jobs",
    "redriven already": "redriven already (--again sends it all the same)",
    "too often": "redriven as often as --max-redrives allows, and failed again",
    "too old to tell": "the jobs topic does not reach back to it, so an earlier redrive would not be seen "
    "(--again sends it all the same)",
    "original gone": "its value was too large to be kept, and the original is not on the jobs topic any more",
}
# What a person who asked for these dead letters must hear of: they are not done.
LEFT_UNDONE: frozenset[Obstacle] = frozenset({"another topic", "too old to tell", "original gone"})


@dataclass(frozen=True, slots=True)
class Redriver:
    """Who sends them again, and when."""

    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Renewed:
    """The job that will be published for one dead letter, with the value of the record that lies at `where`."""

    letter: DeadLetterView
    partition: int
    key: bytes | None
    where: Where
    headers: Headers


Original = tuple[int, int, bytes | None]
"""Partition and offset of a job, and the SHA-256 of its value."""


@dataclass(frozen=True, slots=True)
class JobsLog:
    """What the jobs topic says about some dead letters: which of them were redriven (their marks), and the originals of
    those that were too large to be kept."""

    begins: Mapping[Place, int]
    redriven: frozenset[str] = frozenset()
    originals: Mapping[Original, Record] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a redrive would do with the dead letters that were chosen, in the order of their jobs."""

    jobs: tuple[Renewed, ...]
    skipped: tuple[tuple[DeadLetterView, Obstacle], ...]
    beyond_limit: int = 0


@dataclass(slots=True)
class Sent:
    """What became of a plan's jobs."""

    acknowledged: int = 0
    refused: list[tuple[DeadLetterView, str]] = field(default_factory=list)
    untried: int = 0
    is_interrupted: bool = False
    fault: str | None = None  # why the rest was not tried, where no job was refused for it


@dataclass(frozen=True, slots=True)
class Rules:
    """What is left alone: jobs that failed after `max_redrives` redrives, and dead letters that were redriven already,
    but with `again`. No more than `limit` are sent."""

    max_redrives: int = 3
    again: bool = False
    limit: int | None = None


def make_plan(settings: Settings, chosen: Iterable[DeadLetterView], rules: Rules, redriver: Redriver) -> Plan:
    """Reads the jobs topic; nothing in the plan has a value. Raises SettingsError or Unavailable, see `Reader`."""
    letters = [replace(letter, record=_without_value(letter.record)) for letter in chosen]
    return judge_all(letters, read_log(settings, letters, rules), settings.topics.jobs, rules, redriver)


def send(settings: Settings, jobs: Sequence[Renewed], *, rate: float | None = None) -> Sent:
    """Publish them in their order; each one is acknowledged or refused with a reason when this returns. Where the
    broker answers no more, or by Ctrl-C, the rest is not tried. Raises SettingsError or Unavailable (`Publisher`)."""
    sent = Sent(untried=len(jobs))
    outage: list[str] = []
    stopping = Stopping()

    def note(job: Renewed, report: Report) -> None:
        if isinstance(report, Acknowledged):
            sent.acknowledged += 1
            return
        sent.refused.append((job.letter, report.reason))
        if not report.is_at_fault:
            outage.append(report.reason)

    with stopping.signals(), Publisher(settings, stopping=stopping.event) as publisher:
        pacer = Pacer(rate) if rate else None
        try:
            for job, value in _with_values(settings, jobs, sent):
                _wait(publisher, pacer, stopping)
                if outage or stopping.is_set():
                    break
                sent.untried -= 1
                publisher.send(value, job.key, job.headers, partition=job.partition, on_done=partial(note, job))
        except (Unavailable, SettingsError) as error:  # what was sent is told all the same
            sent.fault = str(error)
        publisher.flush(FAREWELL if stopping.is_set() else None)
        sent.is_interrupted = stopping.is_set()
    return sent


def _with_values(settings: Settings, jobs: Sequence[Renewed], sent: Sent) -> Iterator[tuple[Renewed, bytes | None]]:
    """Some at a time; those that are gone by now are noted as refused."""
    for begin in range(0, len(jobs), AT_ONCE):
        some = jobs[begin : begin + AT_ONCE]
        records = read_records(settings, [job.where for job in some])
        for job in some:
            if job.where in records:
                yield job, records[job.where].value
            else:
                sent.untried -= 1
                sent.refused.append((job.letter, "its value is not there any more"))


def _wait(publisher: Publisher, pacer: Pacer | None, stopping: Stopping) -> None:
    until = time.monotonic() + (pacer.take() if pacer else 0.0)
    while (left := until - time.monotonic()) > 0 and not stopping.is_set():
        publisher.poll(min(left, _LOOK))


# --- what the jobs topic says -------------------------------------------------------------------------------------


def read_log(settings: Settings, letters: Iterable[DeadLetterView], rules: Rules) -> JobsLog:
    """From the oldest of these letters' jobs on. Raises SettingsError or Unavailable, see `Reader`."""
    topic = settings.topics.jobs
    ours = [letter for letter in letters if letter.source.topic == topic and not (rules.again and letter.is_complete)]
    with Reader(settings, [topic], start="latest") as now:
        begins, ends = now.begins, now.ends
    starts: dict[Place, int] = {}
    for letter in ours:
        place = topic, letter.source.partition % len(ends)
        # An offset that the topic has not reached is of an earlier topic of this name.
        is_there = place[1] == letter.source.partition and letter.source.offset < ends[place]
        start = letter.source.offset if is_there else begins[place]
        starts[place] = min(start, starts.get(place, start))
    missing = {_original_of(letter) for letter in ours if not letter.is_complete}
    places = {(partition, offset) for partition, offset, _ in missing}
    redriven: set[str] = set()
    originals: dict[Original, Record] = {}
    with Reader(settings, [topic], start=starts) as reader:
        for record in reader.read_to_end():
            if (origin := record.header(FROM_HEADER)) is not None:
                redriven.add(origin.decode(errors="replace"))
            if (record.partition, record.offset) in places:
                digest = hashlib.sha256(record.value or b"").hexdigest().encode()
                originals[record.partition, record.offset, digest] = _without_value(record)
    return JobsLog(begins, frozenset(redriven), originals)


# --- judging ------------------------------------------------------------------------------------------------------


def judge_all(letters: Iterable[DeadLetterView], log: JobsLog, topic: str, rules: Rules, redriver: Redriver) -> Plan:
    jobs, skipped = [], []
    for letter in sorted(letters, key=_order):
        judged = _judge(letter, log, topic, rules)
        if isinstance(judged, str):
            skipped.append((letter, judged))
        else:
            jobs.append(_renew(letter, judged, letter.source.partition % len(log.begins), redriver))
    kept = jobs[: rules.limit]
    return Plan(tuple(kept), tuple(skipped), len(jobs) - len(kept))


def _order(letter: DeadLetterView) -> tuple[int, int, int, int]:
    """That of their jobs."""
    source = letter.source
    return source.partition, source.offset, source.index, letter.record.offset


def _judge(letter: DeadLetterView, log: JobsLog, topic: str, rules: Rules) -> Obstacle | Record:
    """The record with the job's key and headers, and at its place the value, or why it must not be sent."""
    source = letter.source
    if source.topic != topic:
        return "another topic"
    if letter.redriven >= rules.max_redrives:
        return "too often"
    if not rules.again and mark_of(letter) in log.redriven:
        return "redriven already"
    if not rules.again and source.offset + 1 < log.begins.get((topic, source.partition), 0):
        return "too old to tell"
    return _original(letter, log) or "original gone"


def _original(letter: DeadLetterView, log: JobsLog) -> Record | None:
    """The dead letter itself, or for one without its value what still lies where the job lay, if that is it."""
    return letter.record if letter.is_complete else log.originals.get(_original_of(letter))


def _original_of(letter: DeadLetterView) -> Original:
    return letter.source.partition, letter.source.offset, letter.record.header(f"{ORIGINAL_PREFIX}sha256")


def _without_value(record: Record) -> Record:
    return replace(record, value=None)


def _renew(letter: DeadLetterView, original: Record, partition: int, redriver: Redriver) -> Renewed:
    kept = tuple(
        header
        for header in replace(letter, record=original).original_headers()
        if not header[0].startswith(REDRIVEN_PREFIX)
    )
    said = dict(kept)
    identity: list[tuple[str, bytes | None]] = [(JOB_ID_HEADER, letter.job_id.encode(errors="replace"))]
    if letter.index is not None:
        identity.append((JOB_INDEX_HEADER, str(letter.index).encode()))
    told: Headers = (
        (f"{REDRIVEN_PREFIX}by", redriver.by.encode(errors="replace")),
        (f"{REDRIVEN_PREFIX}at", redriver.at.strftime("%Y-%m-%dT%H:%M:%SZ").encode()),
        (f"{REDRIVEN_PREFIX}count", str(letter.redriven + 1).encode()),
        (FROM_HEADER, mark_of(letter).encode()),
    )
    missing = tuple((name, value) for name, value in identity if said.get(name) != value)
    return Renewed(letter, partition, original.key, where_of(original), (*kept, *missing, *told))


def mark_of(letter: DeadLetterView) -> str:
    """Where and when: topics that are deleted and made again have the same places once more."""
    return f"{place_of(letter)}@{letter.record.timestamp_ms}"


def place_of(letter: DeadLetterView) -> str:
    """Where the dead letter lies: topic/partition/offset."""
    return letter.record.coordinates
