"""What happened in a cell, when, and where is it kept if the cell fails?"""

import json
import shutil
import time
from collections.abc import Mapping
from typing import Any

from tests.rigs.kafka_jars import ROOT

KEPT = ROOT / ".cache" / "faults"


class History:
    """A folder for one run of a cell: each line goes to `history.txt` at once, replicas write their logs beside it.

    `discard` it when the cell was clean.
    """

    def __init__(self, name: str, facts: Mapping[str, Any]) -> None:
        self.folder = KEPT / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.lines: list[str] = []
        self._file = self.folder / "history.txt"
        self._began = time.monotonic()
        (self.folder / "cell.json").write_text(json.dumps(facts, indent=1, default=str) + "\n")

    def note(self, what: str) -> None:
        line = f"{time.monotonic() - self._began:8.2f} {time.strftime('%H:%M:%S')} {what}"
        self.lines.append(line)
        with self._file.open("a") as file:
            file.write(line + "\n")

    def discard(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
