"""Which outcomes of the demo's jobs are in, and what do they say?"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from consumer.demo.line import DrawnPart
from consumer.demo.mistakes import Mistake
from consumer.demo.report import BadJob, Report
from consumer.demo.score import Score
from consumer.errors import CheckFailed
from consumer.kafka.reader import Reader
from consumer.messages import Record, ResultMessage, Source
from consumer.outcomes import DeadLetterView, read_dead_letter, read_result

SILENCE = 60.0  # seconds without an outcome after which none will come


class Harvest:
    """Results by the key of their image, dead letters by the key of their record; each job counts once."""

    def __init__(self, results_topic: str) -> None:
        self._results_topic = results_topic
        self._sources: set[Source] = set()
        self.results: dict[str, ResultMessage] = {}
        self.lines: dict[str, bytes] = {}  # the results as they lay on the topic
        self.dead_letters: dict[bytes | None, DeadLetterView] = {}
        self.repeated = 0

    def gather(self, reader: Reader, count: int, advance: Callable[[], None], check: Callable[[], None]) -> None:
        """Read until `count` jobs have their outcome; `check` is called all the while. Raises CheckFailed."""
        heard_at = time.monotonic()
        while len(self._sources) < count:
            check()
            records = reader.poll(0.1)
            for record in records:
                if self._take(record):
                    advance()
            if records:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > SILENCE:
                raise CheckFailed(f"no outcome for {SILENCE:g} s, {len(self._sources)} of {count} jobs have one")

    def _take(self, record: Record) -> bool:
        if record.topic == self._results_topic:
            result = read_result(record)
            source = result.source
            self.results[result.image.key] = result
            self.lines[result.image.key] = record.value or b""
        else:
            letter = read_dead_letter(record)
            source = letter.source
            self.dead_letters[record.key] = letter
        # A dead letter's timestamp is its own, so that one seen again would look like another job.
        place = Source(source.topic, source.partition, source.offset, source.index, 0)
        is_new = place not in self._sources
        self.repeated += not is_new
        self._sources.add(place)
        return is_new

    def write_results(self, file: Path, keys: Sequence[str]) -> None:
        """One result a line, as the topic holds them, in the order of the keys."""
        with file.open("wb") as lines:
            lines.writelines(self.lines[key] + b"\n" for key in keys if key in self.lines)

    def report(
        self, parts: dict[str, DrawnPart], bad: Sequence[Mistake], *, seconds: float, batches: dict[int, int]
    ) -> Report:
        """Hold what was found against what was drawn, and the dead letters against what had to become one."""
        score = Score()
        for key, part in parts.items():
            if (result := self.results.get(key)) is not None:
                score.add(part.defects, result.detections)
        timings = [result.timings_ms for result in self.results.values()]
        bad_jobs = [_bad_job(mistake, self.dead_letters.get(mistake.key.encode())) for mistake in bad]
        others = [letter for key, letter in self.dead_letters.items() if key not in {one.key.encode() for one in bad}]
        bad_jobs += [_unexpected(letter) for letter in others]
        return Report(len(self.results), seconds, self.repeated, timings, batches, score, bad_jobs)


def _bad_job(mistake: Mistake, letter: DeadLetterView | None) -> BadJob:
    if letter is None:
        return BadJob(mistake.name, "", mistake.reason, "", mistake.key, "")
    return BadJob(mistake.name, letter.reason, mistake.reason, letter.message, mistake.key, letter.source.coordinates)


def _unexpected(letter: DeadLetterView) -> BadJob:
    name = (letter.record.key or b"").decode(errors="replace")
    return BadJob(f"good image {name}", letter.reason, "a result", letter.message, name, letter.source.coordinates)
