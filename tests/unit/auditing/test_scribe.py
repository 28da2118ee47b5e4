"""Do files tile whoever writes them, and is what lies there already taken for what it is?"""

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consumer.audit.manifest import Signer, chained, is_signed_by, origin_of, read_manifest
from consumer.audit.names import Folder, read_path
from consumer.audit.parquet import read_extent
from consumer.audit.rows import JOB_ROWS
from consumer.auditing.scribe import Scribe
from consumer.errors import CheckFailed, Unavailable
from consumer.messages import Record
from consumer.settings import AuditSettings
from tests.rigs.audit_rows import JOBS, a_job_record
from tests.rigs.memory_shelf import MemoryShelf

START = datetime(2026, 3, 1, 8, tzinfo=UTC)
TODAY = Folder(JOBS, START.date(), 0)
Write = Callable[[Scribe, int, int], int]


def records(begin: int, end: int, *, days: int = 0) -> list[Record]:
    return [a_job_record(0, offset, START + timedelta(days=days, seconds=offset)) for offset in range(begin, end)]


def scribe(shelf: MemoryShelf, signer: Signer | None = None) -> Scribe:
    made = Scribe(shelf, AuditSettings(), signer, writer="test")
    made.join(JOBS, 0, None)
    return made


def write(one: Scribe, begin: int, end: int) -> int:
    return one.write(JOB_ROWS, begin, records(begin, end)).end


def extents(shelf: MemoryShelf) -> list[tuple[int, int]]:
    files = sorted((path, content) for path, content in shelf.content.items() if path.endswith(".parquet"))
    return sorted((read_extent(content).begin, read_extent(content).end) for _, content in files)


def test_files_tile_and_their_manifest_says_what_they_are() -> None:
    shelf = MemoryShelf()
    one = scribe(shelf)

    begin = 0
    for end in (3, 4, 9):
        begin = write(one, begin, end)

    assert extents(shelf) == [(0, 3), (3, 4), (4, 9)]
    manifest = read_manifest(shelf.content[TODAY.manifest])
    chain = origin_of(JOBS, 0)
    for entry in manifest.files:
        content = shelf.content[f"{TODAY.path}/{entry.name}"]
        assert (entry.sha256, entry.bytes) == (hashlib.sha256(content).hexdigest(), len(content))
        chain = chained(chain, entry.file)
        assert entry.chain == chain
    assert [(entry.begin, entry.end) for entry in manifest.files] == extents(shelf)


def test_an_auditor_that_was_stalled_adopts_what_its_successor_wrote() -> None:
    shelf = MemoryShelf()
    old, new = scribe(shelf), scribe(shelf)
    write(new, 0, 5)
    write(new, 5, 7)

    written = old.write(JOB_ROWS, 0, records(0, 6))

    assert (written.end, written.is_adopted) == (5, True)
    assert old.write(JOB_ROWS, 5, records(5, 6)).end == 7
    assert extents(shelf) == [(0, 5), (5, 7)]
    assert len(read_manifest(shelf.content[TODAY.manifest]).files) == 2


def test_two_auditors_at_once_leave_one_chain() -> None:
    """Each believes that the partition is its own; they write by turns, whatever the other has done."""
    shelf = MemoryShelf()
    pair = (scribe(shelf), scribe(shelf))
    ends = [0, 0]
    for step in range(12):
        who = step % 2
        ends[who] = write(pair[who], ends[who], ends[who] + 2 + who)

    spans = extents(shelf)
    assert spans[0][0] == 0
    assert all(before[1] == after[0] for before, after in pairwise(spans))
    manifest = read_manifest(shelf.content[TODAY.manifest])
    assert [(entry.begin, entry.end) for entry in manifest.files] == spans


@pytest.mark.parametrize("taken", range(6))
def test_a_death_before_any_write_costs_no_row_and_repeats_none(taken: int) -> None:
    """The group's offset is behind, the manifest may be behind the file: the next one goes on from the offset."""
    shelf = MemoryShelf()
    dying, committed = scribe(shelf), [0]
    shelf.fails_after = taken
    with pytest.raises(Unavailable):
        committed += (write(dying, begin, begin + 3) for begin in range(0, 99, 3))
    shelf.fails_after = None

    heir = scribe(shelf)
    begin = committed[-1]
    while begin < 12:
        begin = write(heir, begin, min(begin + 4, 12))

    spans = extents(shelf)
    assert (spans[0][0], spans[-1][1]) == (0, 12)
    assert all(before[1] == after[0] for before, after in pairwise(spans))
    assert [(entry.begin, entry.end) for entry in read_manifest(shelf.content[TODAY.manifest]).files] == spans


@pytest.mark.parametrize("taken", [0, 1], ids=["file", "manifest"])
def test_a_write_whose_answer_was_lost_is_found_done(taken: int) -> None:
    shelf = MemoryShelf()
    one = scribe(shelf)
    shelf.loses_answer = taken
    with pytest.raises(Unavailable):
        write(one, 0, 3)

    assert write(one, 0, 3) == 3
    assert extents(shelf) == [(0, 3)]
    assert len(read_manifest(shelf.content[TODAY.manifest]).files) == 1


def test_a_new_day_goes_on_from_the_chain_of_the_last() -> None:
    shelf = MemoryShelf()
    one = scribe(shelf)
    write(one, 0, 3)
    one.write(JOB_ROWS, 3, records(3, 5, days=1))
    heir = scribe(shelf)
    heir.write(JOB_ROWS, 5, records(5, 6, days=2))

    manifests = [read_manifest(shelf.content[replace_day(day)]) for day in range(3)]
    for before, after in pairwise(manifests):
        assert after.previous is not None
        assert (after.previous.date, after.previous.chain) == (before.date, before.chain)
    assert heir.join(JOBS, 0, None) == 6


def replace_day(days: int) -> str:
    return replace(TODAY, date=TODAY.date + timedelta(days=days)).manifest


def test_the_end_is_found_where_the_days_do_not_rise_with_the_offsets() -> None:
    shelf = MemoryShelf()
    one = scribe(shelf)
    one.write(JOB_ROWS, 0, records(0, 2, days=300))
    write(one, 2, 5)

    heir = Scribe(shelf, AuditSettings(), None, writer="test")

    assert heir.join(JOBS, 0, None) == 5
    assert heir.day(JOBS, 0) == START.date()
    assert heir.join(JOBS, 0, date(2020, 1, 1)) == 5, "a note of a day without manifest is no note"


def test_manifests_are_signed_where_there_is_a_key() -> None:
    shelf, signer = MemoryShelf(), Signer(Ed25519PrivateKey.generate())
    one = scribe(shelf, signer)
    write(one, 0, 3)
    write(one, 3, 4)

    manifest = read_manifest(shelf.content[TODAY.manifest])

    assert is_signed_by(manifest, signer.public_key)
    assert not is_signed_by(manifest, Signer(Ed25519PrivateKey.generate()).public_key)


def test_a_topic_that_was_made_anew_is_not_taken_for_the_audited_one() -> None:
    shelf = MemoryShelf()
    write(scribe(shelf), 0, 3)
    anew = [replace(record, timestamp_ms=record.timestamp_ms + 1) for record in records(0, 2)]

    with pytest.raises(CheckFailed, match="made anew"):
        scribe(shelf).write(JOB_ROWS, 0, anew)
    with pytest.raises(CheckFailed, match="made anew"):
        scribe(shelf).check(anew[1])
    scribe(shelf).check(records(0, 3)[2])


def test_a_record_of_an_earlier_day_is_checked_against_that_days_file() -> None:
    shelf = MemoryShelf()
    one = scribe(shelf)
    write(one, 0, 3)
    one.write(JOB_ROWS, 3, records(3, 5, days=1))

    one.check(records(1, 2)[0])
    with pytest.raises(CheckFailed, match=r"another record at inspection\.jobs/0/1"):
        one.check(replace(records(1, 2)[0], timestamp_ms=5))


def test_what_is_no_file_of_an_audit_is_not_adopted() -> None:
    shelf = MemoryShelf()
    shelf.create(TODAY.file(0), b"PAR1 something else", AuditSettings())

    with pytest.raises(CheckFailed, match=r"lies where a file of the audit belongs"):
        write(scribe(shelf), 0, 3)


def test_rows_are_the_records_in_their_order() -> None:
    shelf = MemoryShelf()
    write(scribe(shelf), 0, 300)

    (content,) = (content for path, content in shelf.content.items() if path.endswith(".parquet"))

    assert pl.read_parquet(io.BytesIO(content))["offset"].to_list() == list(range(300))
    assert read_path(TODAY.file(0)) == (TODAY, "inspection.jobs+0+00000000000000000000.parquet")
