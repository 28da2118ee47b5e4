"""Has every job exactly one outcome? Proven from the audited jobs and outcomes alone, no topic is asked.

A job is its place: topic, partition, offset, and index within a record of several. Work goes partition by partition,
and within one by windows of offsets, so that memory is bounded.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import polars as pl
from msgspec import Struct

from consumer.audit.columns import JOBS, OUTCOMES
from consumer.audit.coverage import Coverage, Flaw, coverages
from consumer.audit.library import AuditFile, Library
from consumer.audit.manifest import Manifest
from consumer.audit.names import Folder

WINDOW = 500_000
"""Offsets of the jobs topic that are looked at together."""

Kind = Literal[
    "unreadable",
    "altered",
    "gap",
    "overlap",
    "missing",
    "open",
    "duplicate",
    "unexpected",
    "late",
    "not_held",
    "foreign",
    "ahead",
]
"""Stable codes, for programs; those of HARMLESS are told and are no failure."""

HARMLESS: frozenset[Kind] = frozenset({"foreign", "ahead"})
_PLACE = ["offset", "index"]


class Finding(Struct, frozen=True):
    """`place`: topic/partition/offset, with #index for a job; or the path of a file."""

    kind: Kind
    place: str
    message: str


@dataclass(frozen=True, slots=True)
class Asked:
    """Which jobs: of a partition, of offsets `begin` to before `end`, published `since` to before `until`.

    `late`: outcomes that came so much later than their job are findings. `may_be_open`: jobs that still wait are none.
    """

    jobs: str
    outcomes: tuple[str, ...]
    partition: int | None = None
    begin: int | None = None
    end: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    late: timedelta | None = None
    may_be_open: bool = False


class Reconciliation(Struct):
    """Counts of what was looked at; `findings` are the first `limit` of each kind, `found` counts them all."""

    records: int = 0
    jobs: int = 0
    skipped: int = 0
    results: int = 0
    dead_letters: int = 0
    files: int = 0
    found: dict[Kind, int] = {}
    findings: list[Finding] = []
    is_proven: bool = True


def reconcile(library: Library, asked: Asked, *, limit: int = 50) -> Reconciliation:
    """Raises what the library's shelf does. What cannot be read is a finding, not an error."""
    return _Reconciler(library, asked, limit).run()


class _Reconciler:
    def __init__(self, library: Library, asked: Asked, limit: int) -> None:
        self._library = library
        self._asked = asked
        self._limit = limit
        self._told = Reconciliation()

    def run(self) -> Reconciliation:
        jobs = self._covered(self._asked.jobs, until=self._asked.until)
        outcomes = [one for topic in self._asked.outcomes for one in self._covered(topic).values()]
        rows = self._readable(outcomes, OUTCOMES)
        self._tell_foreign(rows)
        partitions = self._partitions(jobs, rows)
        for number in sorted(partitions):
            self._look_at(number, jobs.get(number, Coverage(self._asked.jobs, number)), rows)
        if not self._told.records and "not_held" not in self._told.found:
            self._tell("not_held", self._asked.jobs, "the audit has no record of what was asked for: nothing is proven")
        return self._told

    def _covered(self, topic: str, *, until: datetime | None = None) -> dict[int, Coverage]:
        """The files of a topic by partition. An outcome may come long after its job: no end of time is set for it."""
        files = self._library.files(topic, since=self._asked.since, until=until)
        if topic == self._asked.jobs and self._asked.partition is not None:
            files = [file for file in files if file.folder.partition == self._asked.partition]
        found = coverages(self._library, topic, files, self._manifests(topic, until))
        if between := self._of_other_days(topic, files, found):
            files = sorted([*files, *between], key=lambda file: (file.folder.partition, file.first_offset, file.path))
            found = coverages(self._library, topic, files, self._manifests(topic, until))
        self._told.files += len(files)
        for coverage in found.values():
            for flaw in coverage.flaws:
                self._tell_flaw(flaw)
        return found

    def _of_other_days(self, topic: str, files: Sequence[AuditFile], found: dict[int, Coverage]) -> list[AuditFile]:
        """Those that fill gaps between files of the time asked for: times need not rise with offsets."""
        gaps = {number: coverage.gaps for number, coverage in found.items() if coverage.gaps}
        if not gaps or (self._asked.since is None and self._asked.until is None):
            return []
        known = {file.path for file in files}
        return [
            file
            for file in self._library.files(topic)
            if file.path not in known
            and any(low <= file.first_offset < high for low, high in gaps.get(file.folder.partition, ()))
        ]

    def _manifests(self, topic: str, until: datetime | None) -> Iterator[tuple[Folder, Manifest]]:
        """One that cannot be read is a matter of `verify`."""
        for folder, manifest in self._library.manifests(topic, since=self._asked.since, until=until, strict=False):
            if topic != self._asked.jobs or self._asked.partition in (None, folder.partition):
                yield folder, manifest

    def _readable(self, coverages: Sequence[Coverage], schema: pl.Schema) -> pl.LazyFrame:
        """The rows of those files that polars can read to their end; the others are named, and those with another
        number of rows than they say."""
        files = [file for coverage in coverages for file in coverage.files]
        rows = {path: count for coverage in coverages for path, count in coverage.rows.items()}
        frame = self._library.scan(files, schema)
        try:
            asked = frame.select(pl.len(), pl.col("offset").max(), pl.col("time").max().alias("last"))
            if int(asked.collect(engine="streaming")["len"][0]) == sum(rows.values()):
                return frame
        except (pl.exceptions.PolarsError, OSError):
            pass  # one by one
        return self._library.scan([file for file in files if self._can_be_read(file, schema, rows[file.path])], schema)

    def _can_be_read(self, file: AuditFile, schema: pl.Schema, rows: int) -> bool:
        try:
            count = self._library.scan([file], schema).collect(engine="streaming").height
        except (pl.exceptions.PolarsError, OSError) as error:
            self._tell("unreadable", file.path, " ".join(str(error).split())[:200])
            return False
        if count != rows:
            self._tell("altered", file.path, f"it has {count} rows, and says that it has {rows}")
        return True

    def _partitions(self, jobs: dict[int, Coverage], outcomes: pl.LazyFrame) -> set[int]:
        wanted = self._asked.partition
        if wanted is not None:
            return {wanted}
        ours = outcomes.filter(pl.col("source_topic") == self._asked.jobs).select("source_partition").unique()
        return {*jobs, *ours.drop_nulls().collect(engine="streaming")["source_partition"].to_list()}

    # --- one partition --------------------------------------------------------------------------------------------

    def _look_at(self, number: int, coverage: Coverage, rows: pl.LazyFrame) -> None:
        outcomes = rows.filter(
            (pl.col("source_topic") == self._asked.jobs) & (pl.col("source_partition") == number)
        ).select(
            pl.col("source_offset").alias("offset"),
            pl.col("source_index").alias("index"),
            pl.col("topic").alias("lies_in"),
            pl.col("partition").alias("lies_at"),
            pl.col("offset").alias("lies"),
            "time",
            "kind",
        )
        self._tell_not_held(number, outcomes, coverage)
        jobs = self._readable([coverage], JOBS)
        begin, end = self._span(jobs, coverage)
        last = outcomes.select(pl.col("offset").max()).collect(engine="streaming").item()
        for start in range(begin, end, WINDOW):
            within = (pl.col("offset") >= start) & (pl.col("offset") < min(start + WINDOW, end))
            self._look_at_window(jobs.filter(within), outcomes.filter(within), coverage, -1 if last is None else last)
        self._tell_ahead(number, outcomes, coverage)

    def _span(self, jobs: pl.LazyFrame, coverage: Coverage) -> tuple[int, int]:
        """The offsets that are asked for; of a time those between its first and its last job."""
        asked = self._asked
        begin = coverage.begin if asked.begin is None else max(asked.begin, coverage.begin)
        end = coverage.end if asked.end is None else min(asked.end, coverage.end)
        if asked.since is None and asked.until is None:
            return begin, end
        jobs = self._in_time(jobs.filter((pl.col("offset") >= begin) & (pl.col("offset") < end)))
        span = jobs.select(pl.col("offset").min().alias("first"), pl.col("offset").max().alias("last"))
        first, last = span.collect(engine="streaming").row(0)
        return (0, 0) if first is None else (first, last + 1)

    def _in_time(self, jobs: pl.LazyFrame) -> pl.LazyFrame:
        if self._asked.since is not None:
            jobs = jobs.filter(pl.col("time") >= self._asked.since)
        return jobs if self._asked.until is None else jobs.filter(pl.col("time") < self._asked.until)

    def _look_at_window(self, jobs: pl.LazyFrame, outcomes: pl.LazyFrame, coverage: Coverage, last: int) -> None:
        """`last`: the last offset of the partition whose job has an outcome."""
        records = jobs.unique("offset").collect(engine="streaming")  # a file may lie there twice
        known = _opened(records)
        in_time = self._in_time(records.lazy()).collect()
        asked = _opened(in_time)
        came = outcomes.unique(["lies_in", "lies_at", "lies"]).collect(engine="streaming")
        self._count(in_time, asked, came)
        job_at = self._namer(coverage.partition)

        lost = asked.join(came, on=_PLACE, how="anti", nulls_equal=True).sort(_PLACE)
        for row in lost.iter_rows(named=True):
            if row["offset"] <= last:
                self._tell("missing", job_at(row), "it has no outcome, and later jobs of its partition have")
            else:
                self._tell("open", job_at(row), "it has no outcome yet, nor has any job behind it")

        places = pl.format("{}/{}/{}", "lies_in", "lies_at", "lies").alias("at")
        ours = came.join(asked, on=_PLACE, how="semi", nulls_equal=True)
        more = ours.sort("lies_in", "lies").group_by(_PLACE, maintain_order=True).agg(pl.len(), places)
        for row in more.filter(pl.col("len") > 1).sort(_PLACE).iter_rows(named=True):
            self._tell("duplicate", job_at(row), f"it has {row['len']} outcomes: {', '.join(row['at'][:10])}")

        for row in came.join(known, on=_PLACE, how="anti", nulls_equal=True).sort(_PLACE).iter_rows(named=True):
            if not any(low <= row["offset"] < high for low, high in coverage.gaps):
                self._tell("unexpected", _lying(row), f"it is an outcome of {job_at(row)}, and there is no such job")
        if self._asked.late is not None:
            self._tell_late(asked, came, self._asked.late, job_at)

    def _count(self, records: pl.DataFrame, asked: pl.DataFrame, came: pl.DataFrame) -> None:
        kinds = came.join(asked, on=_PLACE, how="semi", nulls_equal=True)["kind"]
        self._told.records += records.height
        self._told.jobs += asked.height
        self._told.skipped += int(records["skipped"].list.len().sum())
        self._told.results += int((kinds == "result").sum())
        self._told.dead_letters += int((kinds == "dead_letter").sum())

    # --- telling --------------------------------------------------------------------------------------------------

    def _namer(self, number: int) -> Callable[[dict[str, Any]], str]:
        return lambda row: f"{self._asked.jobs}/{number}/{row['offset']}#{row['index']}"

    def _tell_late(
        self, asked: pl.DataFrame, came: pl.DataFrame, late: timedelta, job_at: Callable[[dict[str, Any]], str]
    ) -> None:
        both = asked.join(came, on=_PLACE, suffix="_done", nulls_equal=True).with_columns(
            after=pl.col("time_done") - pl.col("time")
        )
        for row in both.filter(pl.col("after") > late).sort(_PLACE).iter_rows(named=True):
            self._tell(
                "late", job_at(row), f"its outcome {_lying(row)} came {row['after'].total_seconds():g} s after it"
            )

    def _tell_ahead(self, number: int, outcomes: pl.LazyFrame, coverage: Coverage) -> None:
        """Of jobs that the audit does not hold yet, or that are older than it. Told where all jobs are asked for."""
        asked = self._asked
        if any(one is not None for one in (asked.begin, asked.end, asked.since, asked.until)):
            return
        beyond = outcomes.filter((pl.col("offset") >= coverage.end) | (pl.col("offset") < coverage.begin))
        count = beyond.select(pl.len()).collect(engine="streaming").item()
        if count:
            span = f"{coverage.begin} to {coverage.end}" if coverage.files else "none"
            place = f"{asked.jobs}/{number}"
            self._tell("ahead", place, f"{count} outcomes are of jobs that the audit does not hold (offsets {span})")

    def _tell_not_held(self, number: int, outcomes: pl.LazyFrame, coverage: Coverage) -> None:
        """Nothing can be proven of offsets that are in no file, nor of a partition that has none."""
        asked, place = self._asked, f"{self._asked.jobs}/{number}"
        if not coverage.files:
            count = outcomes.select(pl.len()).collect(engine="streaming").item()
            if count or asked.partition is not None:
                self._tell("not_held", place, f"the audit has no file of its jobs, and {count} outcomes of them")
        elif asked.since is None and asked.until is None:
            begin = coverage.begin if asked.begin is None else asked.begin
            end = coverage.end if asked.end is None else asked.end
            if begin < coverage.begin or end > coverage.end:
                fact = f"offsets {begin} to {end} were asked for, the audit has {coverage.begin} to {coverage.end}"
                self._tell("not_held", place, fact)

    def _tell_foreign(self, rows: pl.LazyFrame) -> None:
        foreign = rows.filter(pl.col("kind") == "foreign").select("topic", "partition", "offset", "error_message")
        foreign = foreign.unique(["topic", "partition", "offset"])  # a file may lie there twice
        for row in foreign.collect(engine="streaming").iter_rows(named=True):
            place = f"{row['topic']}/{row['partition']}/{row['offset']}"
            self._tell("foreign", place, str(row["error_message"]))

    def _tell_flaw(self, flaw: Flaw) -> None:
        self._tell(flaw.kind, flaw.path, flaw.message)

    def _tell(self, kind: Kind, place: str, message: str) -> None:
        count = self._told.found.get(kind, 0)
        self._told.found[kind] = count + 1
        if kind not in HARMLESS and not (kind == "open" and self._asked.may_be_open):
            self._told.is_proven = False
        if count < self._limit:
            self._told.findings.append(Finding(kind, place, message))


def _opened(records: pl.DataFrame) -> pl.DataFrame:
    """One row for each job: offset, index, time."""
    return (
        records.select("offset", "time", "jobs")
        .explode("jobs")
        .drop_nulls("jobs")
        .select("offset", pl.col("jobs").struct.field("index"), "time")
    )


def _lying(row: dict[str, Any]) -> str:
    return f"{row['lies_in']}/{row['lies_at']}/{row['lies']}"
