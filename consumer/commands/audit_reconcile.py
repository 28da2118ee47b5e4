"""consumer audit reconcile: has every job exactly one outcome?"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands.asking import a_number
from consumer.commands.frame import AsJson, SettingsFile, console, ending, open_settings, write_line
from consumer.commands.selecting import From, moment_of, open_audit
from consumer.errors import CheckFailed, SettingsError

if TYPE_CHECKING:
    from consumer.audit.reconcile import Kind, Reconciliation

_SAID: dict[Kind, str] = {
    "missing": "jobs without an outcome, though later ones of their partition have one",
    "duplicate": "jobs with more than one outcome",
    "unexpected": "outcomes without a job",
    "late": "outcomes that came late",
    "open": "jobs without an outcome yet, at the end of their partition",
    "gap": "gaps between files, or files that are gone",
    "overlap": "files that lie over others",
    "unreadable": "files that cannot be read",
    "altered": "files with other rows than they say",
    "not_held": "ranges that the audit does not hold",
    "ahead": "partitions with outcomes of jobs that the audit does not hold",
    "foreign": "records on the topics of outcomes that are none",
}


def reconcile(
    settings: SettingsFile = None,
    *,
    from_: From = None,
    jobs: Annotated[
        str | None, typer.Option("--jobs", metavar="TOPIC", help="Of this topic's jobs. [default: topics.jobs]")
    ] = None,
    outcomes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TOPIC", help="Where outcomes lie; repeatable. [default: topics.results, topics.dead_letters]"
        ),
    ] = None,
    partition: Annotated[int | None, typer.Option(metavar="N", min=0, help="Jobs of this partition alone.")] = None,
    from_offset: Annotated[int | None, typer.Option(metavar="N", min=0, help="Jobs from this offset on.")] = None,
    to_offset: Annotated[int | None, typer.Option(metavar="N", min=0, help="Jobs before this offset.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Jobs published from then on: 10m (ago), 7d, 2026-01-31T08:00Z.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Jobs published before then.")] = None,
    late: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0, callback=a_number, help="Outcomes later than that are findings too."),
    ] = None,
    allow_open: Annotated[
        bool, typer.Option("--allow-open", help="Jobs that may still be waiting for their outcome are no failure.")
    ] = False,
    limit: Annotated[int, typer.Option(metavar="N", min=0, help="Show so many findings of each kind.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Prove from the audited jobs and outcomes that every job has exactly one outcome; no topic is asked.

    Files that overlap, are missing or cannot be read are named, so are jobs without outcome or with several, and
    outcomes without a job. A job is topic/partition/offset#index.

    Exit codes: 0 proven, 1 not, 2 settings, arguments or bucket, 3 store not reachable.

    Example: consumer audit reconcile --since 2026-01-31 --until 2026-02-01
    """
    with ending():
        loaded = open_settings(settings, inspects=False)
        library = open_audit(loaded, from_)
        from consumer.audit.reconcile import Asked
        from consumer.audit.reconcile import reconcile as prove

        asked = Asked(
            jobs=jobs or loaded.topics.jobs,
            outcomes=tuple(outcomes or (loaded.topics.results, loaded.topics.dead_letters)),
            partition=partition,
            begin=from_offset,
            end=to_offset,
            since=moment_of(since, option="--since"),
            until=moment_of(until, option="--until"),
            late=None if late is None else timedelta(seconds=late),
            may_be_open=allow_open,
        )
        if from_offset is not None and to_offset is not None and from_offset >= to_offset:
            raise SettingsError(f"--from-offset {from_offset}: it must be less than --to-offset {to_offset}")
        if asked.since is not None and asked.until is not None and asked.since >= asked.until:
            raise SettingsError(f"--since {since}: it must be before --until {until}")
        known = library.topics()
        if strange := sorted(set(outcomes or ()) - set(known)):
            raise SettingsError(f"--outcomes: audit {library.shelf.name} has no {', '.join(strange)}")
        if asked.jobs not in known:
            raise SettingsError(
                f"audit {library.shelf.name} has no jobs of topic {asked.jobs}, but {', '.join(known) or 'nothing'}"
            )
        told = prove(library, asked, limit=limit)
        if as_json:
            write_line(told)
        else:
            _tell(told, limit)
        if not told.is_proven:
            raise CheckFailed(f"not proven: {_summary(told)}")


def _tell(told: Reconciliation, limit: int) -> None:
    for finding in told.findings:
        _say(f"{finding.kind:<10} {finding.place}: {finding.message}", style=None if told.is_proven else "red")
    for kind, count in told.found.items():
        if count > limit:
            _say(f"{kind:<10} and {count - limit} more (--limit)")
    _say(
        f"{told.jobs:,} jobs in {told.records:,} records ({told.skipped:,} events skipped), {told.results:,} results, "
        f"{told.dead_letters:,} dead letters, from {told.files:,} files"
    )
    if told.is_proven:
        _say(
            "proven: every job has exactly one outcome" + (f" (told: {_summary(told)})" if told.found else ""), "green"
        )


def _summary(told: Reconciliation) -> str:
    return "; ".join(f"{count:,} {_SAID[kind]}" for kind in _SAID if (count := told.found.get(kind, 0)))


def _say(text: str, style: str | None = None) -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
