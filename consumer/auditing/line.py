"""What has one partition brought that is not in S3 yet, and when is it time to write it?"""

import time
from datetime import date, timedelta

from consumer.audit.names import day_of
from consumer.messages import Record
from consumer.settings import AuditSettings

_A_DAY = timedelta(days=1)
_OVERHEAD = 700  # bytes that a record takes beside its key, value and headers


class Line:
    """The records of one partition behind its last file, in the order of their offsets."""

    def __init__(self, begin: int) -> None:
        """`begin`: where its next file begins."""
        self.begin = begin
        self.records: list[Record] = []
        self.bytes = 0
        self.is_joined = False
        """Whether it is known how this goes on from the files that are there."""
        self._since: float | None = None
        self._day: date | None = None
        self._has_break = False

    def add(self, record: Record) -> None:
        if not self.records:
            self._since = time.monotonic()
            self._day = day_of(record.timestamp_ms)
        self._has_break = self._has_break or not self._fits(record)
        self.records.append(record)
        self.bytes += size_of(record)

    def is_due(self, settings: AuditSettings) -> bool:
        if self._since is None:
            return False
        return (
            self._has_break
            or len(self.records) >= settings.max_rows
            or self.bytes >= settings.max_bytes
            or time.monotonic() - self._since >= settings.max_age
        )

    def part(self, settings: AuditSettings) -> list[Record]:
        """What the next file holds: no more rows and bytes than are allowed, at least one, and only of its first row's
        day and the day before, which is where readers look for them."""
        taken: list[Record] = []
        bytes_ = 0
        for record in self.records:
            bytes_ += size_of(record)
            is_full = len(taken) >= settings.max_rows or bytes_ > settings.max_bytes
            if taken and (is_full or not self._fits(record)):
                break
            taken.append(record)
        return taken

    def written(self, end: int) -> None:
        """Everything below `end` is in a file."""
        left = [record for record in self.records if record.offset >= end]
        self.begin = end
        self.records, self.bytes, self._since, self._has_break = [], 0, None, False
        for record in left:
            self.add(record)

    def _fits(self, record: Record) -> bool:
        day = day_of(record.timestamp_ms)
        return self._day is not None and self._day - _A_DAY <= day <= self._day


def size_of(record: Record) -> int:
    """What it takes in memory, about."""
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return len(record.value or b"") + len(record.key or b"") + headers + _OVERHEAD
