"""consumer results: what came of the jobs, as it comes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands.asking import (
    ImageGlob,
    JobName,
    KeyGlob,
    ReasonCodes,
    a_number,
    known_reasons,
    moment,
    tell_strangers,
    warn,
)
from consumer.commands.frame import AsJson, SettingsFile, console, ending, open_settings, write_line
from consumer.errors import SettingsError, Unavailable

if TYPE_CHECKING:
    from consumer.kafka.administration import Administration
    from consumer.kafka.reader import Reader
    from consumer.messages import Record
    from consumer.settings import TopicSettings
    from consumer.watching.choice import Choice, Seen

_SILENCE, _PING = 10.0, 3.0

app = typer.Typer(name="results", help="What came of the jobs: results and dead letters.", no_args_is_help=True)


class Kind(StrEnum):
    """Which outcomes; the names of a command-line option."""

    ALL = "all"
    RESULTS = "results"
    DEAD_LETTERS = "dead-letters"


@app.callback()
def nothing() -> None:
    """Else Typer would make the only command the whole group."""


@app.command()
def tail(
    settings: SettingsFile = None,
    *,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="Begin at 10m (ago), 2026-01-31T08:00:00Z, earliest or latest.")
    ] = "latest",
    until_end: Annotated[bool, typer.Option("--until-end", help="Stop at what is there now, else follow.")] = False,
    count: Annotated[int | None, typer.Option(metavar="N", min=1, help="Stop after so many outcomes.")] = None,
    only: Annotated[Kind, typer.Option(help="Which kind of outcome.")] = Kind.ALL,
    key: KeyGlob = None,
    image: ImageGlob = None,
    job: JobName = None,
    class_: Annotated[
        list[str] | None, typer.Option("--class", metavar="NAME", help="Results with a detection of it; repeatable.")
    ] = None,
    min_confidence: Annotated[
        float | None,
        typer.Option(min=0, max=1, callback=a_number, help="Results with a detection (of --class) at least so sure."),
    ] = None,
    max_confidence: Annotated[
        float | None, typer.Option(min=0, max=1, callback=a_number, help="… and at most so sure.")
    ] = None,
    reason: ReasonCodes = None,
    as_json: AsJson = False,
) -> None:
    """Show results and dead letters as they are committed, one line each, until Ctrl-C.

    With --json a result is its own JSON, a dead letter an object with `reason`, `source` and `dead_letter`.
    No consumer group is joined and nothing is committed.

    Exit codes: 0 done, also by Ctrl-C, 2 settings, arguments or topics, 3 broker not reachable.

    Example: consumer results tail --since 1h --class scratch --min-confidence 0.8
    """
    with ending():
        from consumer.watching.choice import Choice

        loaded = open_settings(settings, inspects=False)
        choice = Choice(
            key=key,
            image=image,
            job=job,
            classes=frozenset(class_ or ()),
            min_confidence=min_confidence,
            max_confidence=max_confidence,
            reasons=known_reasons(reason),
        )
        names = _topics(only, choice, loaded.topics)
        start = moment(since, option="--since")
        from consumer.kafka.administration import Administration
        from consumer.kafka.reader import Reader

        try:
            with Reader(loaded, names, start=start) as reader:
                records = reader.read_to_end() if until_end else _follow(reader, Administration(loaded, timeout=_PING))
                _show(records, choice, loaded.topics, count=count, as_json=as_json)
        except KeyboardInterrupt:  # how a tail ends
            raise typer.Exit(0) from None


def _topics(only: Kind, choice: Choice, topics: TopicSettings) -> list[str]:
    has_results = only != Kind.DEAD_LETTERS and not choice.is_of_dead_letters
    has_dead_letters = only != Kind.RESULTS and not choice.is_of_results
    names = [topics.results] * has_results + [topics.dead_letters] * has_dead_letters
    if not names:
        raise SettingsError("nothing can match: results have classes and confidences, dead letters have a reason")
    return names


def _show(
    records: Iterable[Record], choice: Choice, topics: TopicSettings, *, count: int | None, as_json: bool
) -> None:
    from consumer.watching import outcome_lines
    from consumer.watching.choice import Strangers, outcomes_of

    strangers = Strangers()
    shown = _first(count, (seen for seen in outcomes_of(records, topics, strangers) if choice.takes(seen)))
    if not as_json:
        console.print(outcome_lines.HEADING, style="bold", markup=False, highlight=False, soft_wrap=True)
    try:
        for seen in shown:
            if as_json:
                write_line(outcome_lines.as_json(seen))
            else:
                style = "red" if seen.record.topic == topics.dead_letters else None
                line = outcome_lines.as_text(seen)
                console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)
    finally:
        tell_strangers(strangers)


def _follow(reader: Reader, brokers: Administration, *, ask_after: float = _SILENCE) -> Iterator[Record]:
    """Without end. After some silence the brokers are asked whether they are there; an outage is told once."""
    heard_at, is_outage = time.monotonic(), False
    while True:
        records = reader.poll()
        yield from records
        if records:
            heard_at, is_outage = time.monotonic(), False
        elif time.monotonic() - heard_at > ask_after:
            is_outage = _tell_outage(brokers, was_outage=is_outage)
            heard_at = time.monotonic()


def _tell_outage(brokers: Administration, *, was_outage: bool) -> bool:
    try:
        brokers.cluster()
    except Unavailable as error:
        if not was_outage:
            warn(f"{error} (going on until it does)")
        return True
    if was_outage:
        warn("the broker answers again")
    return False


def _first(count: int | None, shown: Iterable[Seen]) -> Iterator[Seen]:
    """Ends with the last one, not with the wait for one more."""
    for number, seen in enumerate(shown, start=1):
        yield seen
        if number == count:
            return
