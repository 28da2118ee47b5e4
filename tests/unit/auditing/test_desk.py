"""Does a partition go on where the audit ends, whatever the group says?"""

import logging
from datetime import UTC, datetime, timedelta

import pytest

from consumer.audit.names import Folder
from consumer.audit.rows import JOB_ROWS
from consumer.auditing.desk import Desk
from consumer.auditing.metrics import AuditMetrics
from consumer.auditing.scribe import Scribe
from consumer.errors import CheckFailed
from consumer.messages import Record
from consumer.settings import AuditSettings
from tests.rigs.audit_rows import JOBS, a_job_record
from tests.rigs.memory_shelf import MemoryShelf

START = datetime(2026, 3, 1, 8, tzinfo=UTC)


def records(begin: int, end: int) -> list[Record]:
    return [a_job_record(0, offset, START + timedelta(seconds=offset)) for offset in range(begin, end)]


@pytest.fixture
def shelf() -> MemoryShelf:
    """It holds the offsets 0 to 9."""
    shelf = MemoryShelf()
    one = Scribe(shelf, AuditSettings(), None, writer="before")
    one.join(JOBS, 0, None)
    one.write(JOB_ROWS, 0, records(0, 10))
    return shelf


def desk(shelf: MemoryShelf) -> Desk:
    return Desk(JOBS, JOB_ROWS, Scribe(shelf, AuditSettings(), None, writer="test"), AuditMetrics())


def test_what_is_in_a_file_is_not_taken_again(shelf: MemoryShelf) -> None:
    """The one before died between its file and the commit."""
    one = desk(shelf)
    one.placed(0, 4, "")
    one.take(records(4, 6))
    one.join(0, one.lines[0])
    one.take(records(6, 12))

    assert one.lines[0].begin == 10
    assert [record.offset for record in one.lines[0].records] == [10, 11]


def test_nothing_is_passed_over_before_a_record_has_shown_that_the_files_are_of_this_log(shelf: MemoryShelf) -> None:
    one = desk(shelf)
    one.placed(0, 0, "")

    one.join(0, one.lines[0])
    assert not one.lines[0].is_joined

    one.take([a_job_record(0, 0, START + timedelta(days=30))])
    with pytest.raises(CheckFailed, match="made anew"):
        one.join(0, one.lines[0])


def test_the_groups_note_says_that_nothing_lay_between_the_last_file_and_its_offset(
    shelf: MemoryShelf, caplog: pytest.LogCaptureFixture
) -> None:
    """Offset 10 and 11 are markers: the next file begins where the last one ended all the same."""
    one = desk(shelf)
    one.placed(0, 12, "end=10 day=2026-03-01")
    one.take(records(12, 13))
    one.join(0, one.lines[0])

    assert one.lines[0].begin == 10
    assert not caplog.records


@pytest.mark.parametrize("note", ["", "end=13", "nothing of ours"])
def test_a_group_that_was_placed_behind_the_end_leaves_a_gap_that_is_told(
    shelf: MemoryShelf, note: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    one = desk(shelf)
    one.placed(0, 12, note)
    one.join(0, one.lines[0])

    assert one.lines[0].begin == 12
    assert [(record.__dict__["from"], record.__dict__["to"]) for record in caplog.records] == [(10, 12)]


def test_a_commit_notes_where_the_last_file_ended_and_on_which_day(shelf: MemoryShelf) -> None:
    one = desk(shelf)
    one.placed(0, 10, "")
    one.join(0, one.lines[0])

    assert one.note(0, 12) == "end=10 day=2026-03-01"
    assert one.note(5, 3) == "", "of a partition that is not ours yet"


def test_what_is_revoked_is_dropped(shelf: MemoryShelf) -> None:
    one = desk(shelf)
    one.placed(0, 10, "")
    one.take(records(10, 12))

    one.revoked([0])
    one.take(records(12, 13))

    assert (one.lines, one.bytes) == ({}, 0)
    assert Folder(JOBS, START.date(), 0).file(10) not in shelf.content


def test_a_partition_that_comes_back_is_looked_up_anew(shelf: MemoryShelf) -> None:
    """Meanwhile its other owner wrote ten more."""
    one = desk(shelf)
    one.placed(0, 10, "")
    one.take(records(10, 12))
    one.join(0, one.lines[0])
    one.lost([0])
    other = Scribe(shelf, AuditSettings(), None, writer="other")
    other.join(JOBS, 0, None)
    other.write(JOB_ROWS, 10, records(10, 20))

    one.placed(0, 10, "")
    one.take(records(10, 22))
    one.join(0, one.lines[0])

    assert one.lines[0].begin == 20
