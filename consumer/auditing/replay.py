"""How are audited jobs published once more, for other weights or settings to do them?"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Literal

import msgspec

from consumer.audit.jobs import AuditedJob
from consumer.errors import SettingsError
from consumer.kafka.publisher import Acknowledged, Publisher, Report
from consumer.messages import Headers
from consumer.publishing.publication import FAREWELL, Pacer
from consumer.publishing.stopping import Stopping
from consumer.settings import Settings

REPLAY_OF = "inspection-replay-of"
REPLAY_SHA256 = "inspection-replay-sha256"

ParametersOf = Literal["original", "settings"]

_LOOK = 0.1
_NAMED = 20


@dataclass(frozen=True, slots=True)
class Again:
    """One record for the replay's topic; `place` is where the job lies that it repeats."""

    place: str
    key: bytes | None
    value: bytes
    headers: Headers


@dataclass(slots=True)
class Replayed:
    """What became of them. `refused` holds the first few that were not acknowledged, each with the reason."""

    acknowledged: int = 0
    not_sent: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    is_interrupted: bool = False
    outage: str | None = None
    """Why nothing more was sent, where the broker answers no more."""


def again(job: AuditedJob, parameters: ParametersOf) -> Again:
    """The same job: its id, image (this version of it, where the bucket has versions), key and metadata. With the
    parameters that ruled it (`original`), or without any, so that those of the next consumer do."""
    topic, partition, offset, index = job.place
    place = f"{topic}/{partition}/{offset}/{index}"
    message: dict[str, Any] = {
        "schema": "inspection.job/1",
        "job_id": job.job_id,
        "image": _without_nulls(msgspec.structs.asdict(job.image)),
    }
    if parameters == "original" and (pinned := _without_nulls(msgspec.structs.asdict(job.parameters))):
        message["parameters"] = pinned
    if job.metadata is not None:
        message["metadata"] = job.metadata
    headers: list[tuple[str, bytes | None]] = [("content-type", b"application/json"), (REPLAY_OF, place.encode())]
    if job.sha256 is not None:
        headers.append((REPLAY_SHA256, job.sha256.encode()))
    return Again(place, job.record_key, msgspec.json.encode(message), tuple(headers))


def check_target(settings: Settings, to: str, sources: Iterable[str], *, into_production: bool) -> None:
    """Raises SettingsError for a topic of outcomes, and, unless told, for one that real jobs come from: their consumers
    would do these as well."""
    topics = settings.topics
    if to in (topics.results, topics.dead_letters):
        raise SettingsError(f"--to: {to} is a topic of outcomes")
    if not into_production and to in {topics.jobs, *sources}:
        raise SettingsError(
            f"--to: {to} is where real jobs lie: its consumers would do these again and publish second outcomes. Name "
            "another topic, or say --into-production"
        )


def replay(settings: Settings, jobs: Iterable[Again], *, to: str, rate: float | None = None) -> Replayed:
    """Publish them in their order, those with a key to the partition of their key; each one is acknowledged or counted
    as not sent when this returns. Where the broker answers no more, or by Ctrl-C, no more are taken. Raises
    SettingsError or Unavailable (`Publisher`)."""
    done = Replayed()

    def note(job: Again, report: Report) -> None:
        if isinstance(report, Acknowledged):
            done.acknowledged += 1
            return
        done.not_sent += 1
        if len(done.refused) < _NAMED:
            done.refused.append((job.place, report.reason))
        if not report.is_at_fault:
            done.outage = report.reason

    stopping = Stopping()
    with stopping.signals(), Publisher(settings, topic=to, stopping=stopping.event) as publisher:
        pacer = Pacer(rate) if rate else None
        for job in stopping.draw(jobs):
            _wait(publisher, pacer, stopping)
            if done.outage or stopping.is_set():
                break
            publisher.send(job.value, job.key, job.headers, on_done=partial(note, job))
        publisher.flush(FAREWELL if stopping.is_set() else None)
        publisher.give_up()
        done.is_interrupted = stopping.is_set()
    return done


def some(jobs: Iterable[AuditedJob], parameters: ParametersOf, limit: int | None) -> Iterator[Again]:
    return (again(job, parameters) for job in islice(jobs, limit))


def _wait(publisher: Publisher, pacer: Pacer | None, stopping: Stopping) -> None:
    until = time.monotonic() + (pacer.take() if pacer else 0.0)
    while (left := until - time.monotonic()) > 0 and not stopping.is_set():
        publisher.poll(min(left, _LOOK))


def _without_nulls(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
