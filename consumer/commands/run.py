"""consumer run: the process that production runs."""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from consumer import logs
from consumer.errors import SettingsError
from consumer.settings import LoggingSettings, load


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
    store not reachable, 4 fenced by another process with the same slot, 5 engine or device, 70 a bug, 128+n stopped by
    a second signal.

    Example: consumer run --settings settings.yaml
    """
    try:
        loaded = load(settings)
    except SettingsError as error:
        logs.configure(LoggingSettings())
        logging.getLogger(__name__).error("%s", error, extra={"exit_code": error.exit_code})  # noqa: TRY400  # one line
        raise typer.Exit(error.exit_code) from None
    logs.configure(loaded.logging)
    from consumer.app import App  # here, so that help and settings errors need no engine

    code = App(loaded, until_caught_up=until_caught_up).main()
    logging.shutdown()
    sys.stdout.flush()
    # Not sys.exit: it would wait for workers that hang in an outage and whose jobs were given back already.
    os._exit(code)
