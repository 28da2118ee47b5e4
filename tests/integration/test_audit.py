"""`consumer audit run` on a real Kafka and a real S3: files that tile the offsets, whatever dies."""

from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest

from consumer.audit.folder import FolderShelf
from consumer.audit.library import AuditFile, Library
from tests.conftest import CreateTopics, StartConsumer
from tests.rigs.deadline import wait_until
from tests.rigs.kafka import Kafka
from tests.rigs.outcome_flow import Flow, publish_flow
from tests.rigs.s3 import S3Server
from tests.rigs.topics import Topics

pytestmark = [pytest.mark.kafka, pytest.mark.s3, pytest.mark.timeout(240)]

SOON = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000}


def settings_of(topics: Topics, s3: S3Server, bucket: str, **audit: Any) -> dict[str, Any]:
    return {
        **topics.settings,
        "s3": {"endpoint_url": s3.endpoint_url},
        "images": {"allowed_buckets": ["*"]},
        "audit": {"bucket": bucket, **audit},
    } | {"kafka": {**topics.settings["kafka"], "extra": SOON}}


def fetched(s3: S3Server, bucket: str, folder: Path) -> Library:
    """The whole audit, copied out of the bucket."""
    pages = s3.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="audit/v1/topic=")
    for page in pages:
        for entry in page.get("Contents", ()):
            path = folder / entry["Key"].removeprefix("audit/v1/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(s3.get(bucket, entry["Key"]))
    return Library(FolderShelf(folder))


def count_files(s3: S3Server, bucket: str) -> int:
    pages = s3.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="audit/v1/topic=")
    return sum(entry["Key"].endswith(".parquet") for page in pages for entry in page.get("Contents", ()))


def has_come(published: Future[Flow], s3: S3Server, bucket: str, files: int) -> bool:
    return published.done() or count_files(s3, bucket) >= files


def assert_audited(library: Library, topics: Topics, flow: Flow) -> None:
    """Every job has one row, every job one outcome, and files tile."""
    jobs = library.jobs(topics.jobs).collect()
    assert Counter(jobs.select("topic", "partition", "offset").iter_rows()) == Counter(flow.jobs)
    outcomes = library.outcomes(topics.outcomes).collect()
    places = outcomes.select("source_topic", "source_partition", "source_offset").iter_rows()
    assert Counter(places) == Counter(flow.jobs)
    assert set(outcomes["kind"]) <= {"result", "dead_letter"}
    for topic in (topics.jobs, *topics.outcomes):
        assert_tiled(library, library.files(topic))
        for folder, manifest in library.manifests(topic):
            names = [file.name for file in library.files(topic) if file.folder == folder]
            assert [entry.name for entry in manifest.files] == names


def assert_tiled(library: Library, files: list[AuditFile]) -> None:
    extents = [library.extent(file) for file in files]
    for before, after in pairwise(extents):
        if before.partition == after.partition:
            assert before.end == after.begin
    for file, extent in zip(files, extents, strict=True):
        offsets = pl.read_parquet(library.shelf.location(file.path))["offset"]
        assert offsets.is_sorted()
        assert (offsets[0], offsets[-1] + 1, len(offsets)) == (file.first_offset, extent.end, extent.rows)
        assert extent.begin <= file.first_offset


@pytest.mark.parametrize(
    ("jobs", "seed"),
    [(6000, 1), *(pytest.param(50_000, seed, marks=pytest.mark.slow) for seed in (2, 3, 4))],
)
def test_auditors_killed_at_any_time_leave_files_that_tile_the_offsets(
    kafka: Kafka,
    s3: S3Server,
    bucket: str,
    topics: CreateTopics,
    start_consumer: StartConsumer,
    tmp_path: Path,
    jobs: int,
    seed: int,
) -> None:
    made, random = topics(partitions=3), Random(seed)
    settings = settings_of(made, s3, bucket, max_rows=jobs // 60, max_age=2)
    auditors = [
        start_consumer(settings, name=name, environment=s3.environment, command=("audit", "run")) for name in "ab"
    ]
    with ThreadPoolExecutor(1) as thread:
        published = thread.submit(publish_flow, made, jobs, seed=seed)
        while not published.done():
            wanted = count_files(s3, bucket) + random.randint(1, 20)
            wait_until(partial(has_come, published, s3, bucket, wanted), within=60, what="more files")
            random.choice(auditors).start()  # kills it first
    flow = published.result()
    for auditor in auditors:
        auditor.kill()
    last = start_consumer(
        settings, name="last", environment=s3.environment, command=("audit", "run"), arguments=("--until-caught-up",)
    )
    assert last.wait(120) == 0
    assert_audited(fetched(s3, bucket, tmp_path / "audit"), made, flow)
