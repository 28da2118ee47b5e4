"""consumer run: the process that production runs."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from consumer.commands.frame import Running, run_process
from consumer.settings import Settings


def run(
    settings: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Settings file; else CONSUMER_SETTINGS, else ./settings.yaml, else defaults."
        ),
    ] = None,
    *,
    until_caught_up: Annotated[
        bool, typer.Option("--until-caught-up", help="Stop with 0 at the end offsets seen at the start.")
    ] = False,
) -> None:
    """Join the consumer group and inspect jobs until SIGTERM; a second signal stops at once.

    Exit codes: 0 drained or done, 1 a check is red, 2 settings, topics, buckets, credentials or weights, 3 broker or
    store not reachable or a transaction that the broker never ends, 4 fenced by another process with the same slot,
    5 engine or device, 70 a bug, 128+n stopped by a second signal.

    Example: consumer run --settings settings.yaml
    """
    run_process(settings, partial(_build, until_caught_up=until_caught_up))


def _build(settings: Settings, *, until_caught_up: bool) -> Running:
    from consumer.app import App  # here, so that help and settings errors need no engine

    return App(settings, until_caught_up=until_caught_up)
