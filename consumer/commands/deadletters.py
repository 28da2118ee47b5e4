"""consumer deadletters: what failed and why, and once the cause is gone the same jobs again."""

from __future__ import annotations

import getpass
import heapq
import os
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from consumer.commands.asking import (
    ImageGlob,
    JobName,
    KeyGlob,
    ReasonCodes,
    a_number,
    known_reasons,
    moment,
    show_page,
    tell_strangers,
    warn,
)
from consumer.commands.frame import AsJson, SettingsFile, console, ending, open_settings, write_line
from consumer.errors import CheckFailed, SettingsError

if TYPE_CHECKING:
    from consumer.outcomes import DeadLetterView
    from consumer.settings import Settings
    from consumer.watching.choice import Choice, Seen
    from consumer.watching.redrive import Plan, Sent
    from consumer.watching.tally import Tally

app = typer.Typer(
    name="deadletters", help="What failed and why; send it again once the cause is gone.", no_args_is_help=True
)

SHOWN = 50
NAMED = 20

Since = Annotated[str, typer.Option(metavar="TIME", help="From 2h (ago), 2026-01-31T08:00:00Z or earliest on.")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Up to that time.")]
Retryable = Annotated[
    bool | None, typer.Option("--retryable/--not-retryable", help="Those that the same job may get over, or not.")
]


@app.command("list")
def list_(
    settings: SettingsFile = None,
    *,
    reason: ReasonCodes = None,
    since: Since = "earliest",
    until: Until = None,
    key: KeyGlob = None,
    image: ImageGlob = None,
    job: JobName = None,
    retryable: Retryable = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help=f"The newest N alone; {SHOWN} if not given, with --json all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count dead letters by reason and list the newest.

    Exit codes: 0 done, 2 settings, arguments or topics, 3 broker not reachable.

    Example: consumer deadletters list --since 1d --reason image_not_found
    """
    with ending():
        loaded = open_settings(settings, inspects=False)
        choice = _choice(reason=reason, until=until, key=key, image=image, job=job, retryable=retryable)
        _list(loaded, choice, since, SHOWN if limit is None and not as_json else limit, as_json=as_json)


@app.command()
def show(
    place: Annotated[
        str,
        typer.Argument(
            metavar="PLACE", help="TOPIC/PARTITION/OFFSET of the dead letter or of its job, or the job's id."
        ),
    ],
    settings: SettingsFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show a dead letter in full: the failure, and the job with its key, headers and value.

    A record of several jobs may have several: all are shown.

    Exit codes: 0 done, 1 there is none, 2 settings or topics, 3 broker not reachable.

    Example: consumer deadletters show inspection.jobs/3/1041
    """
    with ending():
        loaded = open_settings(settings, inspects=False)
        from consumer.watching.choice import Choice
        from consumer.watching.dead_letter_page import lines_of, page_of

        found = 0
        for seen, letter in _read(loaded, Choice(), "earliest"):
            record = seen.record
            if place not in (record.coordinates, letter.job_id, seen.coordinates):
                continue
            if as_json:
                write_line(page_of(seen))
            else:
                lines = [""] * bool(found) + list(lines_of(seen, letter))
                console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
            found += 1
        if not found:
            raise CheckFailed(f"there is no dead letter of {place} on {loaded.topics.dead_letters}")


@app.command()
def redrive(
    settings: SettingsFile = None,
    *,
    reason: ReasonCodes = None,
    since: Since = "earliest",
    until: Until = None,
    key: KeyGlob = None,
    image: ImageGlob = None,
    job: JobName = None,
    retryable: Retryable = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Send the first N, by their jobs.")] = None,
    rate: Annotated[
        float | None,
        typer.Option(metavar="N", min=0.001, callback=a_number, help="At most so many jobs per second."),
    ] = None,
    max_redrives: Annotated[
        int, typer.Option(metavar="N", min=1, help="Leave alone what failed again after so many redrives.")
    ] = 3,
    again: Annotated[bool, typer.Option("--again", help="Also dead letters that were redriven already.")] = False,
    by: Annotated[str | None, typer.Option(metavar="WHO", help="Kept in a header; user@host if not given.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent; send nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; needed where nobody sits at a terminal.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send the jobs of dead letters again: key, value and headers as they were published, to the same partition.

    A dead letter is redriven once: a header of the new job names it, and the jobs topic is read for such headers before
    anything is sent. Run it again after an error or Ctrl-C: what has arrived is not sent twice.

    Exit codes: 0 done, 1 some were not sent (named), 2 settings, arguments or topics, 3 broker not reachable,
    130 Ctrl-C.

    Example: consumer deadletters redrive --reason image_not_found --since 2h --dry-run
    """
    with ending():
        loaded = open_settings(settings, inspects=False)
        choice = _choice(reason=reason, until=until, key=key, image=image, job=job, retryable=retryable)
        if not (yes or dry_run or sys.stdin.isatty()):
            raise SettingsError("nobody can be asked here: add --yes, or --dry-run to see what would be sent")
        from consumer.watching.redrive import Redriver, Rules, make_plan, send

        letters = (letter for _, letter in _read(loaded, choice, since))
        redriver = Redriver(by or f"{_user()}@{socket.gethostname()}", datetime.now(UTC))
        plan = make_plan(loaded, letters, Rules(max_redrives, again, limit), redriver)
        if not as_json:
            _tell_plan(plan)
        if not plan.jobs or dry_run:
            _end(plan, None, as_json=as_json)
        if not yes and not _is_wanted(f"Send {_jobs(len(plan.jobs))} to {loaded.topics.jobs}?"):
            raise CheckFailed("nothing was sent")
        _end(plan, send(loaded, plan.jobs, rate=rate), as_json=as_json)


# --- reading ------------------------------------------------------------------------------------------------------


def _choice(
    *,
    reason: list[str] | None,
    until: str | None,
    key: str | None,
    image: str | None,
    job: str | None,
    retryable: bool | None,
) -> Choice:
    from consumer.watching.choice import Choice

    end = None if until is None else moment(until, option="--until")
    if end == "earliest":
        raise SettingsError("--until: nothing is earlier than earliest")
    until_ms = round(end.timestamp() * 1000) if isinstance(end, datetime) else None
    reasons = known_reasons(reason)
    return Choice(key=key, image=image, job=job, until_ms=until_ms, reasons=reasons, is_retryable=retryable)


def _read(settings: Settings, choice: Choice, since: str) -> Iterator[tuple[Seen, DeadLetterView]]:
    """All that are there now; what is no dead letter is told at the end."""
    from consumer.kafka.reader import Reader
    from consumer.outcomes import DeadLetterView
    from consumer.watching.choice import Strangers, outcomes_of

    strangers = Strangers()
    with Reader(settings, [settings.topics.dead_letters], start=moment(since, option="--since")) as reader:
        for seen in outcomes_of(reader.read_to_end(), settings.topics, strangers):
            if isinstance(seen.outcome, DeadLetterView) and choice.takes(seen):
                yield seen, seen.outcome
    tell_strangers(strangers)


# --- list ---------------------------------------------------------------------------------------------------------


def _list(settings: Settings, choice: Choice, since: str, limit: int | None, *, as_json: bool) -> None:
    from consumer.watching import outcome_lines
    from consumer.watching.tally import Tally

    tally = Tally()

    def counted() -> Iterator[Seen]:
        for seen, letter in _read(settings, choice, since):
            tally.add(letter)
            yield seen

    chosen = counted() if limit is None else _newest(limit, counted())
    if as_json:
        for seen in chosen:
            write_line(outcome_lines.as_json(seen))
        return
    newest = list(chosen)
    if not tally.total:
        console.print("no dead letters", markup=False)
        return
    _tell_tally(tally)
    console.print()
    _print_table(newest)
    if tally.total > len(newest):
        console.print(f"the newest {len(newest)} of {tally.total} (--limit)", markup=False, highlight=False)


def _newest(count: int, letters: Iterator[Seen]) -> list[Seen]:
    """Oldest of them first, as a log reads."""
    return heapq.nlargest(count, letters, key=_time)[::-1]


def _time(seen: Seen) -> tuple[int, int, int]:
    return seen.record.timestamp_ms, seen.record.partition, seen.record.offset


def _print_table(letters: list[Seen]) -> None:
    from consumer.outcomes import DeadLetterView
    from consumer.watching.outcome_lines import failure, printable, time_of

    for seen in letters:
        if isinstance(seen.outcome, DeadLetterView):
            place = f"{seen.coordinates}{'' if seen.outcome.index is None else f' #{seen.outcome.index}'}"
            image = printable(seen.image or "-")
            line = f"{time_of(seen.record.timestamp_ms)}  {place}  {image}  {failure(seen.outcome)}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def _tell_tally(tally: Tally) -> None:
    from rich.table import Table
    from rich.text import Text

    from consumer.watching.outcome_lines import printable, time_of

    table = Table("REASON", "COUNT", "OLDEST", "NEWEST", "RETRYABLE", box=None)
    for row in tally.rows:
        times = time_of(row.oldest_ms), time_of(row.newest_ms)
        cells = [printable(row.reason), str(row.count), *times, "yes" if row.retryable else "no"]
        table.add_row(*map(Text, cells))
    show_page(table)


# --- redrive ------------------------------------------------------------------------------------------------------


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # containers run with ids that have no name
        return str(os.getuid())


def _tell_plan(plan: Plan) -> None:
    from consumer.watching.redrive import WHY
    from consumer.watching.tally import Tally

    if plan.jobs:
        _tell_tally(Tally.of(job.letter for job in plan.jobs))
    console.print(f"{_jobs(len(plan.jobs))} to be sent", markup=False, highlight=False)
    for obstacle, count in Counter(obstacle for _, obstacle in plan.skipped).items():
        console.print(f"{count} left alone: {WHY[obstacle]}", markup=False, highlight=False, soft_wrap=True)
    if plan.beyond_limit:
        console.print(f"{plan.beyond_limit} more beyond --limit", markup=False, highlight=False)


def _end(plan: Plan, sent: Sent | None, *, as_json: bool) -> NoReturn:
    """Say what was done and end: 130 by Ctrl-C, else 1 if something that was asked for is not."""
    from consumer.watching.redrive import LEFT_UNDONE, WHY, place_of

    undone = [(letter, WHY[obstacle]) for letter, obstacle in plan.skipped if obstacle in LEFT_UNDONE]
    undone += sent.refused if sent else []
    if as_json:
        counts = Counter(obstacle for _, obstacle in plan.skipped)
        write_line(
            {
                "planned": len(plan.jobs),
                "sent": sent.acknowledged if sent else 0,
                "skipped": counts,
                "beyond_limit": plan.beyond_limit,
                "not_sent": [{"dead_letter": place_of(letter), "why": why} for letter, why in undone],
                "not_tried": sent.untried if sent else 0,
            }
        )
    elif sent:
        untried = f", {sent.untried} not tried" if sent.untried else ""
        console.print(f"{_jobs(sent.acknowledged)} sent{untried}", markup=False, highlight=False)
    for letter, why in undone[:NAMED]:
        warn(f"not sent: {place_of(letter)}: {why}")
    if sent and sent.is_interrupted:
        raise KeyboardInterrupt
    if sent and sent.fault:
        warn(sent.fault)
    left = len(undone) + (sent.untried if sent else 0)
    if left:
        raise CheckFailed(f"{left} of the dead letters chosen were not sent")
    raise typer.Exit(0)


def _is_wanted(question: str) -> bool:
    """Raises KeyboardInterrupt for Ctrl-C."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        raise KeyboardInterrupt from None


def _jobs(count: int) -> str:
    return f"{count} job{'' if count == 1 else 's'}"
