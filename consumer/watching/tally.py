"""How many dead letters are there of each reason, and from when to when?"""

from collections.abc import Iterable
from typing import Self

from msgspec import Struct

from consumer.outcomes import DeadLetterView


class Row(Struct, frozen=True):
    """Dead letters with one reason; the times are those of the dead letters."""

    reason: str
    count: int
    oldest_ms: int
    newest_ms: int
    retryable: bool


class Tally:
    """Counts by reason, most frequent first."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}

    @classmethod
    def of(cls, letters: Iterable[DeadLetterView]) -> Self:
        tally = cls()
        for letter in letters:
            tally.add(letter)
        return tally

    def add(self, letter: DeadLetterView) -> None:
        time_ms = letter.record.timestamp_ms
        row = self._rows.get(letter.reason) or Row(letter.reason, 0, time_ms, time_ms, letter.is_retryable)
        self._rows[letter.reason] = Row(
            letter.reason,
            row.count + 1,
            min(row.oldest_ms, time_ms),
            max(row.newest_ms, time_ms),
            letter.is_retryable,
        )

    @property
    def rows(self) -> list[Row]:
        return sorted(self._rows.values(), key=lambda row: (-row.count, row.reason))

    @property
    def total(self) -> int:
        return sum(row.count for row in self._rows.values())
