"""What does a person at the terminal see of the demo?"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from consumer.demo.report import Report, Rows


class Show:
    """Lines, a progress bar per phase, and the tables at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def phase(self, doing: str, done: str, total: int) -> Iterator[Callable[[], None]]:
        """A bar while the `with` lasts, moved by each call of what is given; then one line."""
        start = time.monotonic()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(
            *columns, TimeElapsedColumn(), console=self._console, transient=True, disable=not self._console.is_terminal
        ) as progress:
            bar = progress.add_task(doing, total=total)
            yield lambda: progress.advance(bar)
        self.say(f"{time.monotonic() - start:6.1f} s  {done}")

    def tables(self, report: Report) -> None:
        speed = f"{report.images_per_second:.0f} images/s, {report.images} images in {report.seconds:.1f} s"
        self._console.print()
        self._print("Speed", ("", ""), (("jobs to outcomes", speed), ("batches", report.batch_text())))
        self._print("Milliseconds per image", ("stage", "p50", "p99"), report.stage_rows())
        self._print("Defects", ("class", "drawn", "found", "missed", "false"), report.defect_rows())
        bad = tuple((job.name, job.reason, job.message) for job in report.bad_jobs)
        self._print("Dead letters", ("bad job", "reason", "what the consumer said"), bad, numbers=False)

    def files(self, folder: Path) -> None:
        self.say(f"page     {(folder / 'index.html').resolve()}")
        self.say(f"audit    {(folder / 'audit.html').resolve()}")
        self.say(f"results  {(folder / 'results.jsonl').resolve()}")

    def _print(self, title: str, header: tuple[str, ...], rows: Rows, *, numbers: bool = True) -> None:
        table = Table(title=title, title_justify="left", show_header=any(header))
        for place, column in enumerate(header):
            table.add_column(column, justify="right" if numbers and place and any(header) else "left")
        for row in rows:
            table.add_row(*row)
        self._console.print(table, markup=False, highlight=False)
