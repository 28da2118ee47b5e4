"""Which partitions of one topic are ours to audit, and what has come of them?"""

import logging
import re
from collections.abc import Iterable
from datetime import date

from consumer.audit.rows import Kind
from consumer.auditing.line import Line
from consumer.auditing.metrics import AuditMetrics
from consumer.auditing.scribe import Scribe
from consumer.messages import Record

logger = logging.getLogger(__name__)

_NOTE = re.compile(r"end=(\d{1,18})(?: day=(\d{4}-\d\d-\d\d))?")


class Desk:
    """One topic; the listener of its source. What is revoked or lost is dropped: the next owner reads it again."""

    def __init__(self, topic: str, kind: Kind, scribe: Scribe, metrics: AuditMetrics) -> None:
        self.topic = topic
        self.kind = kind
        self.lines: dict[int, Line] = {}
        self._days: dict[int, date | None] = {}  # whose manifest was the last, by the group's note
        self._ends: dict[int, int | None] = {}  # where the manifests say that the audit ended
        self._scribe = scribe
        self._metrics = metrics

    @property
    def bytes(self) -> int:
        return sum(line.bytes for line in self.lines.values())

    def take(self, records: Iterable[Record]) -> None:
        for record in records:
            line = self.lines.get(record.partition)
            if line is not None and record.offset >= line.begin:
                line.add(record)

    def join(self, partition: int, line: Line) -> None:
        """Before a partition's first file: how does it go on from what is there? Raises as Scribe does."""
        if line.is_joined:
            return
        if partition not in self._ends:
            self._ends[partition] = self._scribe.join(self.topic, partition, self._days.get(partition))
        end = self._ends[partition]
        if end is not None and end < line.begin:
            logger.warning(
                "these records are in no file of the audit: the group was placed behind its end",
                extra={"topic": self.topic, "partition": partition, "from": end, "to": line.begin},
            )
        if end is not None and end > line.begin:
            if not line.records:
                return  # the first one tells whether the files are of this log
            self._scribe.check(line.records[0])
            line.written(end)
        line.is_joined = True

    # --- the source's listener ------------------------------------------------------------------------------------

    def assigned(self, partitions: list[int]) -> None:
        self._count("assigned", partitions)

    def placed(self, partition: int, offset: int, note: str) -> None:
        """Between the end of the last file and a committed offset behind it there were no records, where the note of
        the commit says so."""
        found = _NOTE.fullmatch(note)
        is_known = found is not None and int(found[1]) <= offset
        self.lines[partition] = Line(int(found[1]) if found and is_known else offset)
        self._days[partition] = date.fromisoformat(found[2]) if found and is_known and found[2] else None
        self._ends.pop(partition, None)
        self._scribe.forget(self.topic, partition)

    def note(self, partition: int, offset: int) -> str:
        line = self.lines.get(partition)
        if line is None or offset < line.begin:
            return ""
        day = self._scribe.day(self.topic, partition)
        return f"end={line.begin}" + (f" day={day.isoformat()}" if day else "")

    def revoked(self, partitions: list[int]) -> None:
        self._drop(partitions)
        self._count("revoked", partitions)

    def lost(self, partitions: list[int]) -> None:
        self._drop(partitions)
        self._count("lost", partitions)

    def _drop(self, partitions: list[int]) -> None:
        for partition in partitions:
            self.lines.pop(partition, None)
            self._scribe.forget(self.topic, partition)
            for gauge in (self._metrics.lag_jobs, self._metrics.lag_seconds):
                gauge.remove(self.topic, str(partition))

    def _count(self, event: str, partitions: list[int]) -> None:
        self._metrics.rebalances.labels(event).inc(len(partitions))
        if partitions:
            logger.info("partitions %s", event, extra={"topic": self.topic, "partitions": sorted(partitions)})
