"""Are just the files read that may hold the rows, and can files of other versions be read?"""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from consumer.audit.columns import OUTCOMES
from consumer.audit.folder import FolderShelf
from consumer.audit.library import Library
from consumer.audit.names import Folder, day_of, first_offset_of, read_path
from consumer.audit.parquet import Extent, NotAnAuditFile, read_extent, to_parquet
from tests.rigs.audit_rows import DEAD_LETTERS, JOBS, RESULTS, START, write_audit

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty days of one partition, a job each six hours; every tenth fails."""
    folder = tmp_path_factory.mktemp("month")
    write_audit(folder, jobs=120, partitions=1, per_file=50, step=timedelta(hours=6), dead_every=10)
    return folder


def test_a_library_knows_its_topics_days_and_files(month: Path) -> None:
    library = Library(FolderShelf(month))

    assert library.topics() == [DEAD_LETTERS, JOBS, RESULTS]
    assert library.days(JOBS) == [START.date() + number * DAY for number in range(31)]
    files = library.files(JOBS)
    assert [file.first_offset for file in files] == sorted(file.first_offset for file in files)
    assert sum(library.extent(file).rows for file in files) == 120
    assert sum(len(manifest.files) for _, manifest in library.manifests(JOBS)) == len(files)


def test_a_day_is_read_from_its_folder_and_its_neighbours_alone(month: Path, tmp_path: Path) -> None:
    since = START + 10 * DAY
    library = Library(FolderShelf(month))
    wanted = library.outcomes([RESULTS, DEAD_LETTERS], since=since, until=since + DAY).collect()

    files = library.files(RESULTS, since=since, until=since + DAY)
    assert {file.folder.date for file in files} == {since.date() + number * DAY for number in range(-1, 3)}
    assert len(wanted) == 4
    assert all(since <= time < since + DAY for time in wanted["time"])


def test_a_library_of_nothing_gives_no_rows(tmp_path: Path) -> None:
    library = Library(FolderShelf(tmp_path))

    assert library.topics() == []
    assert library.files(RESULTS) == []
    assert library.outcomes([RESULTS]).collect().schema == OUTCOMES
    assert library.jobs(JOBS).collect().is_empty()


def test_files_of_an_older_and_a_newer_version_are_read_beside_each_other(tmp_path: Path) -> None:
    """An older one lacks a column, a newer one has another."""
    write_audit(tmp_path, jobs=10, partitions=1, per_file=5)
    library = Library(FolderShelf(tmp_path))
    older, newer = library.files(RESULTS)
    frames = {older: pl.read_parquet(tmp_path / older.path).drop("shapes", "detections")}
    frames[newer] = pl.read_parquet(tmp_path / newer.path).with_columns(masks=pl.lit("rle"))
    for file, frame in frames.items():
        (tmp_path / file.path).write_bytes(to_parquet(frame, library.extent(file), writer="other"))

    rows = library.outcomes([RESULTS]).collect()

    assert rows.schema == OUTCOMES
    assert rows["shapes"].to_list() == [None] * 5 + ["square"] * 5
    assert rows["detections"].null_count() == 5


def test_row_groups_can_be_skipped_by_their_statistics(tmp_path: Path) -> None:
    frame = pl.DataFrame({"offset": range(50_000)})
    path = tmp_path / "a.parquet"
    path.write_bytes(to_parquet(frame, Extent("inspection.audit-jobs/1", JOBS, 3, 0, 50_000, 50_000), writer="w"))
    asked = "select row_group_id, stats_min_value, stats_max_value, compression from parquet_metadata(?) order by 1"

    groups = duckdb.execute(asked, [str(path)]).fetchall()

    assert [(int(low), int(high)) for _, low, high, _ in groups] == [(0, 19_999), (20_000, 39_999), (40_000, 49_999)]
    assert {compression for *_, compression in groups} == {"ZSTD"}


def test_a_file_says_which_offsets_it_covers(tmp_path: Path) -> None:
    extent = Extent("inspection.audit-jobs/1", JOBS, 3, 10, 25, 2)
    content = to_parquet(pl.DataFrame({"offset": [12, 24]}), extent, writer="w")

    assert read_extent(content) == extent
    assert content == to_parquet(pl.DataFrame({"offset": [12, 24]}), extent, writer="w")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all"])
def test_what_is_no_parquet_is_told(content: bytes) -> None:
    with pytest.raises(NotAnAuditFile):
        read_extent(content)


def test_parquet_of_somebody_else_is_told(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "a.parquet")

    with pytest.raises(NotAnAuditFile, match="which offsets"):
        read_extent(str(tmp_path / "a.parquet"))


@pytest.mark.parametrize(
    ("timestamp", "day"),
    [
        (0, date(1970, 1, 1)),
        (-1, date(1970, 1, 1)),
        (86_399_999, date(1970, 1, 1)),
        (86_400_000, date(1970, 1, 2)),
        (int(datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC).timestamp() * 1000), date(2026, 3, 1)),
        (2**63 - 1, date(9999, 12, 31)),
    ],
)
def test_a_day_is_that_of_utc_and_no_number_is_without_one(timestamp: int, day: date) -> None:
    assert day_of(timestamp) == day


def test_names_lead_to_offsets_and_back() -> None:
    folder = Folder("line-3.jobs", date(2026, 3, 1), 12)
    path = folder.file(77)

    assert path == "topic=line-3.jobs/date=2026-03-01/partition=12/line-3.jobs+12+00000000000000000077.parquet"
    assert read_path(path) == (folder, "line-3.jobs+12+00000000000000000077.parquet")
    assert first_offset_of("line-3.jobs+12+00000000000000000077.parquet") == 77


@pytest.mark.parametrize(
    "path", ["probe.json", "topic=a/date=2026-13-01/partition=0/x", "topic=a/date=2026-03-01/x", "topic=a/x"]
)
def test_other_objects_are_no_part_of_an_audit(path: str) -> None:
    assert read_path(path) is None
    assert first_offset_of("_manifest.json") is None
