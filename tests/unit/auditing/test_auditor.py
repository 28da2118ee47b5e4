"""Are offsets committed behind files alone, and does an outage of the store only make the auditor wait?"""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consumer.audit.names import read_path
from consumer.audit.parquet import read_extent
from consumer.audit.rows import JOB_ROWS, Kind
from consumer.auditing.auditor import Auditor, Post
from consumer.auditing.desk import Desk
from consumer.auditing.line import size_of
from consumer.auditing.metrics import AuditMetrics
from consumer.auditing.scribe import Scribe
from consumer.errors import CheckFailed
from consumer.health import Health
from consumer.messages import Record
from consumer.settings import AuditSettings, DeliverySettings, ImageSettings, Settings
from tests.rigs.audit_rows import JOBS, a_job_record
from tests.rigs.log_source import LogSource
from tests.rigs.memory_shelf import MemoryShelf

START = datetime(2026, 3, 1, 8, tzinfo=UTC)


def records(begin: int, end: int, partition: int = 0) -> list[Record]:
    return [a_job_record(partition, offset, START + timedelta(seconds=offset)) for offset in range(begin, end)]


@dataclass
class Scene:
    """One auditor of one topic, and turns of its loop by hand."""

    shelf: MemoryShelf
    source: LogSource
    auditor: Auditor
    health: Health
    stopping: threading.Event
    metrics: AuditMetrics

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.auditor._turn()

    @property
    def files(self) -> list[tuple[int, int, int]]:
        """Partition, begin and end of each."""
        found = []
        for path, content in self.shelf.content.items():
            known = read_path(path)
            if known is not None and path.endswith(".parquet"):
                extent = read_extent(content)
                found.append((known[0].partition, extent.begin, extent.end))
        return sorted(found)


def scene(shelf: MemoryShelf | None = None, *, partitions: int = 1, commits: Any = None, **audit: Any) -> Scene:
    shelf = shelf or MemoryShelf()
    settings = Settings(
        images=ImageSettings(allowed_buckets=("*",)),
        audit=AuditSettings(**audit),
        delivery=DeliverySettings(drain_timeout=0.2),
    )
    metrics, stopping = AuditMetrics(), threading.Event()
    health = Health(metrics, ("store", "broker", "group"))
    scribe = Scribe(shelf, settings.audit, None, writer="test")
    desk = Desk(JOBS, Kind(JOB_ROWS.schema, JOB_ROWS.rows), scribe, metrics)
    source = LogSource(JOBS, desk, partitions=partitions)
    source.commits |= commits or {}
    auditor = Auditor(settings, [Post(desk, source)], scribe, health=health, metrics=metrics, stopping=stopping)
    return Scene(shelf, source, auditor, health, stopping, metrics)


@pytest.fixture(autouse=True)
def _commits_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.auditing.auditor.COMMITTED_EVERY", 0.0)


def test_nothing_is_committed_that_is_in_no_file() -> None:
    here = scene(max_rows=10)
    here.source.append(records(0, 7))
    here.source.open()
    here.turn(3)

    assert here.files == []
    assert here.source.commits.get(0, (0, ""))[0] == 0

    here.source.append(records(7, 12))
    here.turn(2)

    assert here.files == [(0, 0, 10)]
    assert here.source.commits[0] == (10, "end=10 day=2026-03-01")


def test_markers_behind_the_last_file_are_committed_and_the_next_file_begins_before_them() -> None:
    here = scene(max_rows=5)
    here.source.append(records(0, 5))
    here.source.markers[0] = 2
    here.source.open()
    here.turn(2)
    assert here.source.commits[0] == (7, "end=5 day=2026-03-01")

    heir = scene(here.shelf, max_rows=5, commits=here.source.commits)
    heir.source.append([*records(0, 5), *records(7, 12)])
    heir.source.open()
    heir.turn(2)

    assert heir.files == [(0, 0, 5), (0, 5, 12)]


def test_until_an_end_it_writes_all_that_lies_before_it_and_stops() -> None:
    here = scene(partitions=2)
    here.source.append([*records(0, 25), *records(0, 4, partition=1)])

    here.auditor.run(until={JOBS: {0: 25, 1: 4}})

    assert here.files == [(0, 0, 25), (1, 0, 4)]
    assert {partition: offset for partition, (offset, _) in here.source.commits.items()} == {0: 25, 1: 4}
    assert not here.source.is_open


def test_a_stop_writes_what_is_in_hand() -> None:
    here = scene()
    here.source.append(records(0, 25))
    here.source.open()
    here.turn()
    here.auditor._drain()

    assert here.files == [(0, 0, 25)]
    assert here.source.commits[0][0] == 25


def test_a_stop_in_an_outage_gives_back_what_cannot_be_written() -> None:
    here = scene()
    here.source.append(records(0, 25))
    here.source.open()
    here.turn()
    here.shelf.fails_after = 0
    here.auditor._drain()

    assert here.files == []
    assert here.source.commits.get(0, (0, ""))[0] == 0


def test_an_outage_pauses_the_intake_when_the_room_is_full_and_ends_by_itself() -> None:
    one = size_of(records(0, 1)[0])
    here = scene(max_rows=10, max_buffered_bytes=15 * one)
    here.source.open()
    here.turn()
    here.shelf.fails_after = 0
    here.source.append(records(0, 12))
    here.turn(2)
    assert here.health.readiness["store"] == "not now"
    assert here.source.paused == set()
    here.source.append(records(12, 20))
    here.turn(2)
    assert here.source.paused == {0}
    here.source.append(records(20, 99))
    here.turn(3)
    assert here.auditor._bytes == sum(map(size_of, records(0, 20)))

    here.shelf.fails_after = None
    here.auditor._not_before = 0.0
    here.turn(12)
    here.auditor._drain()

    assert here.health.readiness["store"] == "ok"
    assert [end - begin for _, begin, end in here.files[:9]] == [10] * 9
    assert here.files[-1][2] == 99


def test_when_the_room_is_full_the_partition_with_most_is_written() -> None:
    one = size_of(records(0, 1)[0])
    here = scene(partitions=2, max_buffered_bytes=25 * one)
    here.source.append([*records(0, 20), *records(0, 10, partition=1)])
    here.source.open()
    here.turn()

    assert here.files == [(0, 0, 20)]
    assert here.source.paused == set()


def test_files_of_another_log_end_it() -> None:
    here = scene(max_rows=5)
    here.source.append(records(0, 5))
    here.source.open()
    here.turn()
    other = scene(here.shelf, max_rows=5)
    other.source.append([a_job_record(0, offset, START + timedelta(days=3)) for offset in range(5)])

    with pytest.raises(CheckFailed, match="made anew"):
        other.auditor.run(until={JOBS: {0: 5}})
    assert not other.source.is_open


def test_lag_counts_what_is_in_no_file_yet() -> None:
    here = scene(max_rows=10)
    here.source.append(records(0, 7))
    here.source.markers[0] = 1
    here.source.open()
    here.turn()

    lag = here.metrics.registry.get_sample_value("inspection_lag_jobs", {"topic": JOBS, "partition": "0"})

    assert lag == 8


def test_nothing_is_committed_before_it_is_known_how_a_partition_goes_on() -> None:
    here = scene()
    here.source.append(records(0, 5))
    here.source.commits[0] = (5, "end=3 day=2026-03-01")
    here.source.open()
    here.auditor._not_before = float("inf")  # the store was refused a moment ago
    here.turn(2)

    assert here.source.commits[0] == (5, "end=3 day=2026-03-01")
