"""How a command begins and how it ends: its settings, where it writes, one line and an exit code for what failed."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn, Protocol

import msgspec
import typer
from rich.console import Console

from consumer import logs
from consumer.errors import CheckFailed, Fatal, SettingsError, Unavailable, Unreachable
from consumer.settings import LoggingSettings, Settings, load

SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings", metavar="FILE", help="Settings file; else CONSUMER_SETTINGS, else ./settings.yaml, else defaults."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs instead of a table.")]

INTERRUPTED = 130

BROKEN_PIPE = 141  # what a shell reports of any program whose reader has gone: 128 + SIGPIPE
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class _Console(Console):
    """Keys and messages come from anybody: nothing in them may steer the terminal."""

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(_visible(one) if isinstance(one, str) else one for one in objects), **options)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


console = _Console()
errors = _Console(stderr=True)


def open_settings(file: Path | None, *, inspects: bool = True) -> Settings:
    """Load the settings; log lines are warnings alone, as text on stderr. Raises SettingsError."""
    logs.configure(LoggingSettings(level="WARNING", format="text"))
    return load(file, inspects=inspects)


class Running(Protocol):
    """A process that runs until it is stopped, see process.py."""

    def main(self) -> int: ...


def run_process(file: Path | None, build: Callable[[Settings], Running], *, inspects: bool = True) -> NoReturn:
    """Load the settings, build what is to run, run it and end with its exit code; what is wrong with the settings is
    one line in the log."""
    try:
        loaded = load(file, inspects=inspects)
        logs.configure(loaded.logging)
        process = build(loaded)
    except SettingsError as error:
        logs.configure(LoggingSettings())
        logging.getLogger(__name__).error("%s", error, extra={"exit_code": error.exit_code})  # noqa: TRY400  # one line
        raise typer.Exit(error.exit_code) from None
    code = process.main()
    logging.shutdown()
    sys.stdout.flush()
    # Not sys.exit: it would wait for workers that hang in an outage and whose jobs were given back already.
    os._exit(code)


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
        _drop_output()
        raise typer.Exit(BROKEN_PIPE) from None
    except OSError as error:  # a full disk, stdout or a file
        _drop_output()
        _end(f"{error.filename or 'output'}: {error.strerror or error}", CheckFailed.exit_code)


def write_line(value: Any) -> None:
    """One line of JSON on stdout, at once: a program is reading. Nothing where stdout was closed."""
    if sys.stdout is None:
        return
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()


def _drop_output() -> None:
    """What is still to be written goes nowhere, else Python's own flush fails at exit."""
    if sys.stdout is not None:
        with contextlib.suppress(OSError, ValueError):  # no file behind it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _visible(text: str) -> str:
    return _CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


def _end(message: str, code: int) -> None:
    logging.shutdown()
    errors.print(f"error: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code) from None
