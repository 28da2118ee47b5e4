"""How is a copy of the consumer made with a guard taken out, and what do its tests say?"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.mutants.guard import WITHOUT_BROKER, Edit
from tests.mutants.warm import NO_END
from tests.rigs.kafka import EXTERNAL_VARIABLE
from tests.rigs.member import PROTOCOL_VARIABLE

ROOT = Path(__file__).parents[2]
COPIED = ("consumer", "tests")
NOT_NEEDED = {".git", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
LONGEST = 300.0
"""Seconds after which tests that came to no end without a guard have noticed by that."""
ARGUMENTS = (
    *("-q", "-p", "no:cacheprovider", "--tb=line", "-rfE"),
    *("-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"),  # that is what makes it quick
)

_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+::.*?)(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Finding:
    """What the tests said: `failed` is the first test that noticed, None where none did."""

    failed: str | None
    seconds: float


class BenchError(Exception):
    """The tests could not be run, so nothing is known."""


class Bench:
    """A copy of the sources of one moment in a temporary folder; one at a time guards are taken out of it."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="inspection-mutants-"))

    def __enter__(self) -> Self:
        for entry in ROOT.iterdir():
            if entry.name in COPIED:
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(entry, self._folder / entry.name, ignore=ignored)
            elif entry.name not in NOT_NEEDED:
                (self._folder / entry.name).symlink_to(entry)
        # Compiled once and told apart by content: by time and size, two mutants of one second look alike.
        compile_all = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash", *COPIED]
        subprocess.run(compile_all, cwd=self._folder, check=True)
        self._warm = self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._warm.terminate()
        self._warm.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> "subprocess.Popen[str]":
        """CI: a server that is missing fails its tests, which else would be skipped, and notice nothing."""
        environment = {**os.environ, "PYTHONPATH": str(self._folder), "PYTHONDONTWRITEBYTECODE": "1", "CI": "true"}
        command = [sys.executable, "-P", str(Path("tests", "mutants", "warm.py"))]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self._folder, env=environment, stdin=pipe, stdout=pipe, text=True, start_new_session=True
        )

    @contextmanager
    def without(self, edits: Sequence[Edit]) -> Iterator[None]:
        """The copy has these edits inside of it. Raises BenchError where one does not fit."""
        before = {edit.file: (self._folder / edit.file).read_text() for edit in edits}
        try:
            for edit in edits:
                path = self._folder / edit.file
                path.write_text(edited(path.read_text(), edit))
            yield
        finally:
            for file, text in before.items():
                (self._folder / file).write_text(text)

    def run(self, tests: Sequence[str], *, protocol: str, kafka: str | None, all_of_them: bool = False) -> Finding:
        """Run the tests on the copy as it is. Raises BenchError when pytest could not."""
        report = self._folder / "report"
        order = {
            "arguments": [*ARGUMENTS, *tests, *(() if all_of_them else ("-x",))],
            "environment": {
                **({} if protocol == WITHOUT_BROKER else {PROTOCOL_VARIABLE: protocol}),
                **({} if kafka is None else {EXTERNAL_VARIABLE: kafka}),
            },
            "output": str(report),
            "longest": None if all_of_them else LONGEST,
        }
        started_at = time.monotonic()
        code = self._ask(json.dumps(order))
        seconds = time.monotonic() - started_at
        said = report.read_text(errors="replace")
        match code:
            case 0:
                return Finding(None, seconds)
            case 1:
                failed = _FAILED.findall(said)
                return Finding("\n".join(failed) if all_of_them else failed[0], seconds)
            case code if code == NO_END:
                return Finding(f"no end after {LONGEST:g} s", seconds)
            case code if code < 0:
                return Finding(f"the process of the tests was killed ({signal.Signals(-code).name})", seconds)
            case code:
                raise BenchError(f"pytest ended with {code}:\n{said[-3000:]}")

    def _ask(self, order: str) -> int:
        assert self._warm.stdin is not None
        assert self._warm.stdout is not None
        self._warm.stdin.write(f"{order}\n")
        self._warm.stdin.flush()
        if not (answer := self._warm.stdout.readline()):
            raise BenchError("what runs the tests has ended")
        return int(answer)


def edited(text: str, edit: Edit) -> str:
    """Raises BenchError unless the old text is there exactly once."""
    if (times := text.count(edit.old)) != 1:
        raise BenchError(f"{edit.file} has this {times} times instead of once:\n{edit.old}")
    return text.replace(edit.old, edit.new)
