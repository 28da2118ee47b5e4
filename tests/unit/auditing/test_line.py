"""When is a file closed, and what is in it?"""

from dataclasses import replace

from pydantic import ByteSize

from consumer.auditing.line import Line, size_of
from consumer.messages import Record
from consumer.settings import AuditSettings
from tests.unit.samples import a_record

DAY = 86_400_000
NOON = 1_700_000_000_000 // DAY * DAY + DAY // 2


def line_of(*timestamps: int) -> Line:
    line = Line(0)
    for offset, timestamp in enumerate(timestamps):
        line.add(record(offset, timestamp))
    return line


def record(offset: int, timestamp: int = NOON) -> Record:
    return replace(a_record(), offset=offset, timestamp_ms=timestamp)


def offsets(records: list[Record]) -> list[int]:
    return [one.offset for one in records]


def test_a_file_is_closed_at_so_many_rows() -> None:
    settings = AuditSettings(max_rows=3)

    assert not line_of(NOON, NOON).is_due(settings)
    line = line_of(NOON, NOON, NOON, NOON)
    assert line.is_due(settings)
    assert offsets(line.part(settings)) == [0, 1, 2]


def test_a_file_is_closed_at_so_many_bytes_and_holds_one_record_at_least() -> None:
    size = size_of(record(0))
    line = line_of(NOON, NOON, NOON)

    assert not line.is_due(AuditSettings(max_bytes=ByteSize(3 * size + 1)))
    assert line.is_due(AuditSettings(max_bytes=ByteSize(3 * size)))
    assert offsets(line.part(AuditSettings(max_bytes=ByteSize(2 * size)))) == [0, 1]
    assert offsets(line.part(AuditSettings(max_bytes=ByteSize(1)))) == [0]


def test_a_file_is_closed_so_long_after_its_first_record() -> None:
    assert line_of(NOON).is_due(AuditSettings(max_age=1e-9))
    assert not line_of(NOON).is_due(AuditSettings(max_age=3600))
    assert not line_of().is_due(AuditSettings(max_age=1e-9))


def test_a_later_day_closes_the_file_and_begins_the_next() -> None:
    line = line_of(NOON, NOON, NOON + DAY, NOON + DAY)

    assert line.is_due(AuditSettings())
    assert offsets(line.part(AuditSettings())) == [0, 1]
    line.written(2)
    assert not line.is_due(AuditSettings())
    assert offsets(line.part(AuditSettings())) == [2, 3]


def test_a_late_row_of_the_day_before_stays_and_an_older_one_does_not() -> None:
    """Readers look for a row in its own day's folder and in the next day's."""
    line = line_of(NOON, NOON - DAY, NOON, NOON - 2 * DAY)

    assert line.is_due(AuditSettings())
    assert offsets(line.part(AuditSettings())) == [0, 1, 2]


def test_what_is_written_is_kept_no_longer_and_the_next_file_begins_there() -> None:
    line = line_of(NOON, NOON, NOON)

    line.written(2)

    assert (line.begin, offsets(line.records), line.bytes) == (2, [2], size_of(record(2)))
    line.written(9)
    assert (line.begin, line.records, line.bytes) == (9, [], 0)
