"""How a command begins and how it ends: its settings, where it writes, one line and an exit code for what failed."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from consumer import logs
from consumer.errors import Fatal, Unavailable, Unreachable
from consumer.settings import LoggingSettings, Settings, load

SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings", metavar="FILE", help="Settings file; else CONSUMER_SETTINGS, else ./settings.yaml, else defaults."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs instead of a table.")]

INTERRUPTED = 130

console = Console()
errors = Console(stderr=True)


def open_settings(file: Path | None, *, inspects: bool = True) -> Settings:
    """Load the settings; log lines are warnings alone, as text on stderr. Raises SettingsError."""
    logs.configure(LoggingSettings(level="WARNING", format="text"))
    return load(file, inspects=inspects)


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """What went wrong is one line on stderr and an exit code, never a traceback, but for bugs."""
    try:
        yield
    except Fatal as error:
        _end(str(error), error.exit_code)
    except Unavailable as error:
        _end(str(error), Unreachable.exit_code)
    except KeyboardInterrupt:
        _end("interrupted", INTERRUPTED)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python's own flush fails at exit
        raise typer.Exit(0) from None


def write_line(value: Any) -> None:
    """One line of JSON on stdout, at once: a program is reading."""
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()


def _end(message: str, code: int) -> None:
    logging.shutdown()
    errors.print(f"error: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code) from None
