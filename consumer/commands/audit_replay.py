"""consumer audit replay: audited jobs once more, for other weights or settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands.asking import ReasonCodes, a_number, warn
from consumer.commands.frame import AsJson, SettingsFile, console, ending, open_settings, write_line
from consumer.commands.selecting import (
    Bucket,
    Classes,
    From,
    JobName,
    KeyPattern,
    MaxConfidence,
    Metadata,
    MinConfidence,
    Model,
    Only,
    OutcomeTopics,
    Partition,
    Since,
    Until,
    open_audit,
    selection_of,
)
from consumer.errors import CheckFailed

if TYPE_CHECKING:
    from consumer.auditing.replay import Again, Replayed


class ParametersOf(StrEnum):
    """Whose thresholds rule; the names of a command-line option."""

    SETTINGS = "settings"
    ORIGINAL = "original"


def replay(
    settings: SettingsFile = None,
    *,
    to: Annotated[str, typer.Option("--to", metavar="TOPIC", help="Where they are published; it must exist.")],
    from_: From = None,
    topic: OutcomeTopics = None,
    since: Since = None,
    until: Until = None,
    only: Annotated[Only, typer.Option(help="Jobs with which outcome.")] = Only.ALL,
    key: KeyPattern = None,
    bucket: Bucket = None,
    job: JobName = None,
    model: Model = None,
    class_: Classes = None,
    min_confidence: MinConfidence = None,
    max_confidence: MaxConfidence = None,
    reason: ReasonCodes = None,
    metadata: Metadata = None,
    partition: Partition = None,
    parameters: Annotated[
        ParametersOf,
        typer.Option(help="Thresholds: of the consumer that will do them, or pinned to those of the first time."),
    ] = ParametersOf.SETTINGS,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="The first N jobs alone.")] = None,
    rate: Annotated[
        float | None, typer.Option(metavar="N", min=0.001, callback=a_number, help="At most so many jobs per second.")
    ] = None,
    into_production: Annotated[
        bool, typer.Option("--into-production", help="Also onto the topic that the jobs came from.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be sent, with --json show it; send nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Publish the jobs of audited outcomes once more, onto a topic of their own.

    Ids, images (the same version, where the bucket has versions), record keys and metadata are as they were; a header,
    inspection-replay-of, names the job that each one repeats. A consumer with other weights or settings, another
    kafka.group_id and its own three topics does them (consumer run --until-caught-up), consumer audit run writes its
    outcomes down, and consumer audit diff compares.

    Exit codes: 0 all were sent, 1 some were not, or there was nothing to send, 2 settings, arguments or topics,
    3 broker or store not reachable, 130 Ctrl-C.

    Example: consumer audit replay --since 1d --key 'line-3/*' --to candidate.jobs
    """
    with ending():
        loaded = open_settings(settings, inspects=False)
        library = open_audit(loaded, from_)
        from consumer.audit.jobs import jobs_of, sources_of
        from consumer.auditing.replay import check_target, some
        from consumer.auditing.replay import replay as send

        selection = selection_of(
            since=since,
            until=until,
            key=key,
            bucket=bucket,
            class_=class_,
            min_confidence=min_confidence,
            max_confidence=max_confidence,
            model=model,
            metadata=metadata,
            partition=partition,
            only=only,
            job=job,
            reason=reason,
        )
        topics = topic or [loaded.topics.results, loaded.topics.dead_letters]
        sources = sources_of(library, topics, selection)
        check_target(loaded, to, sources, into_production=into_production)
        if not sources:
            raise CheckFailed(f"no job of {', '.join(topics)} was chosen: nothing to send")
        left_out: Counter[str] = Counter()
        jobs = some(jobs_of(library, topics, selection, left_out), parameters.value, limit)
        if dry_run:
            count = sum(1 for _ in _shown(jobs, as_json=as_json))
            _tell_left_out(left_out)
            warn(f"{_jobs(count)} would be sent to {to}; nothing was")
            return
        done = send(loaded, jobs, to=to, rate=rate)
        _tell(done, to, left_out, as_json=as_json)
        if done.is_interrupted:
            raise KeyboardInterrupt
        if done.not_sent:
            rest = f"; those behind them were not tried: {done.outage}" if done.outage else ""
            raise CheckFailed(f"{_jobs(done.not_sent)} not sent{rest}")
        if not done.acknowledged:
            raise CheckFailed("of none of the jobs chosen the image is known: nothing was sent")


def _shown(jobs: Iterator[Again], *, as_json: bool) -> Iterator[Again]:
    from msgspec import Raw

    for one in jobs:
        if as_json:
            key = None if one.key is None else one.key.decode(errors="replace")
            write_line({"replay_of": one.place, "key": key, "value": Raw(one.value)})
        yield one


def _tell(done: Replayed, to: str, left_out: Counter[str], *, as_json: bool) -> None:
    if as_json:
        refused = [{"replay_of": place, "why": why} for place, why in done.refused]
        write_line(
            {
                "topic": to,
                "sent": done.acknowledged,
                "not_sent": done.not_sent,
                "refused": refused,
                "without_image": left_out.total(),
            }
        )
    else:
        console.print(f"{_jobs(done.acknowledged)} sent to {to}", markup=False, highlight=False, soft_wrap=True)
    for place, why in done.refused:
        warn(f"not sent: {place}: {why}")
    _tell_left_out(left_out)


def _tell_left_out(left_out: Counter[str]) -> None:
    if left_out:
        warn(f"{_jobs(left_out.total())} left out: they became dead letters before their image was known")


def _jobs(count: int) -> str:
    return f"{count:,} job{'' if count == 1 else 's'}"
