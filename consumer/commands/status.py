"""consumer status: how far the group is behind, and how fast it goes."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands.asking import a_number, moment, show_page, tell_strangers, warn
from consumer.commands.frame import AsJson, SettingsFile, console, ending, open_settings, write_line
from consumer.errors import CheckFailed, Unavailable

if TYPE_CHECKING:
    from rich.console import Group as Lines

    from consumer.watching.lag import PartitionLag, Standing, Watch


def status(
    settings: SettingsFile = None,
    *,
    since: Annotated[str, typer.Option(metavar="TIME", help="Count dead letters from then on: 1h (ago), …")] = "1h",
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    every: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0.2, max=86_400, callback=a_number, help="Between two looks; a rate needs two."
        ),
    ] = 2.0,
    max_lag_seconds: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0,
            callback=a_number,
            help="Exit code 1 if the oldest unfinished job is older, or that cannot be told.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show lag, age of the oldest unfinished job, owner, rate and drain time of each partition, and dead letters.

    LAG counts offsets, as Kafka's own tools do: markers of transactions on the jobs topic are among them. OLDEST is the
    age of the oldest unfinished job. No consumer group is joined and nothing is committed.

    Exit codes: 0 done, also by Ctrl-C, 1 --max-lag-seconds is passed, or it cannot be told, 2 settings or topics,
    3 broker not reachable.

    Example: consumer status --watch
    """
    with ending():
        loaded = open_settings(settings, inspects=False)
        begin = moment(since, option="--since")
        from consumer.watching.lag import Watch

        with Watch(loaded, since=begin) as looking:
            if watch:
                _watch(looking, since, every=every, as_json=as_json)
                return
            looking.begin()
            time.sleep(every)
            standing = looking.look()
            if as_json:
                write_line(standing)
            else:
                show_page(_page(standing, since))
            tell_strangers(looking.strangers)
        _check(standing, max_lag_seconds)


def _watch(looking: Watch, since: str, *, every: float, as_json: bool) -> None:
    """An outage of the broker is shown and outlived."""
    from rich.live import Live
    from rich.text import Text

    try:
        if as_json:
            while True:
                try:
                    write_line(looking.look())
                except Unavailable as error:
                    warn(str(error))
                time.sleep(every)
        with Live(console=console, auto_refresh=False) as live:
            while True:
                try:
                    page = _page(looking.look(), since)
                except Unavailable as error:
                    page = Lines(Text(f"the broker does not answer: {error}", style="yellow"))
                live.update(page, refresh=True)
                time.sleep(every)
    except KeyboardInterrupt:  # how it ends
        tell_strangers(looking.strangers)
        raise typer.Exit(0) from None


def _check(standing: Standing, most: float | None) -> None:
    """What could not be looked at does not count as well."""
    if most is None:
        return
    oldest = max((row.oldest_seconds or 0.0 for row in standing.partitions), default=0.0)
    if oldest > most:
        raise CheckFailed(f"the oldest unfinished job is {oldest:g} s old, limit {most:g} s (--max-lag-seconds)")
    unknown = [
        f"{row.partition} ({row.note or 'its oldest job was not told'})"
        for row in standing.partitions
        if not row.is_known
    ]
    if unknown:
        where = f"partitions of {standing.topic}: {', '.join(unknown)}"
        raise CheckFailed(f"whether a job is older than {most:g} s (--max-lag-seconds) cannot be told of {where}")


def _page(standing: Standing, since: str) -> Lines:
    from rich.console import Group as Lines
    from rich.table import Table
    from rich.text import Text

    table = Table("PARTITION", "COMMITTED", "END", "LAG", "OLDEST", "RATE", "DRAINED IN", "OWNER", box=None)
    for column in table.columns[:7]:
        column.justify = "right"
    for row in standing.partitions:
        table.add_row(*map(Text, _cells(row)))
    total = standing.total
    oldest = "?" if total.oldest_seconds is None else _age(total.oldest_seconds)
    lag = "?" if total.lag is None else str(total.lag)
    sums = ["total", "", "", lag, oldest, _rate(total.rate), _age(total.drains_in), ""]
    table.add_row(*map(Text, sums), style="bold")
    head = f"group {standing.group}: {_state(standing)}    topic {standing.topic}    {standing.time}"
    letters = ", ".join(f"{row.count} {row.reason}" for row in standing.dead_letters) or "none"
    return Lines(Text(head), table, Text(f"dead letters since {since}: {letters}"))


def _state(standing: Standing) -> str:
    if standing.state == "unknown":
        return "the broker knows no such group (was it ever started?)"
    if not standing.members:
        return f"{standing.state}, no members: nothing is being done"
    return f"{standing.state}, {standing.members} member{'s' if standing.members > 1 else ''} ({standing.protocol})"


def _cells(row: PartitionLag) -> list[str]:
    owner = f"{row.owner.host} {row.owner.member_id}" if row.owner else "-"
    return [
        str(row.partition),
        "-" if row.committed is None else str(row.committed),
        str(row.end),
        "?" if row.lag is None else str(row.lag),
        _age(row.oldest_seconds) if row.is_known else "?",
        _rate(row.rate),
        _age(row.drains_in),
        f"{owner}  {row.note}".rstrip(),
    ]


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.1f}/s"


def _age(seconds: float | None) -> str:
    """Without fractions from a minute on."""
    if seconds is None:
        return "-"
    return f"{seconds:.1f}s" if seconds < 60 else str(timedelta(seconds=round(seconds)))
