"""`consumer audit run` on a real Kafka and a real S3: files that tile the offsets, whatever dies."""

import base64
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
from confluent_kafka.admin import AdminClient
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consumer.audit.folder import FolderShelf
from consumer.audit.library import AuditFile, Library
from consumer.audit.manifest import Signer, is_signed_by
from consumer.audit.reconcile import Asked, reconcile
from consumer.audit.verify import Asked as Scope
from consumer.audit.verify import verify
from consumer.auditing.process import reading_of
from consumer.demo.ports import free_port
from consumer.kafka.topics import LogOffsets
from consumer.settings import Settings
from tests.conftest import CreateTopics, StartConsumer
from tests.rigs.deadline import wait_until
from tests.rigs.jobs import publish_mixed, put_pictures, settings_for
from tests.rigs.kafka import Kafka
from tests.rigs.kafka_jars import ROOT
from tests.rigs.outcome_flow import Flow, publish_flow
from tests.rigs.s3 import S3Server
from tests.rigs.topics import Topics, create_topics, delete_topics

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
    assert_proven(library, topics)


def assert_proven(library: Library, topics: Topics) -> None:
    told = reconcile(library, Asked(topics.jobs, topics.outcomes))
    assert told.is_proven, told.findings
    found = verify(library, Scope(tuple(library.topics())))
    assert found.findings == []
    assert found.pending == []


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
        stalled = random.choice(auditors)
        while not published.done():
            wanted = count_files(s3, bucket) + random.randint(1, 20)
            wait_until(partial(has_come, published, s3, bucket, wanted), within=60, what="more files")
            random.choice(auditors).start()  # kills it first
            if random.random() < 0.3:
                stalled.pause()
    flow = published.result()
    stalled.resume()  # it does not know yet that its partitions are another's
    for auditor in auditors:
        auditor.kill()
    last = start_consumer(
        settings, name="last", environment=s3.environment, command=("audit", "run"), arguments=("--until-caught-up",)
    )
    assert last.wait(120) == 0
    assert_audited(fetched(s3, bucket, tmp_path / "audit"), made, flow)


def test_what_consumers_did_is_proven_and_what_is_taken_away_is_named(
    kafka: Kafka, s3: S3Server, bucket: str, topics: CreateTopics, start_consumer: StartConsumer, tmp_path: Path
) -> None:
    """The way that a person goes: consumers, an auditor, and the commands over the bucket."""
    made = topics(partitions=2)
    keys = put_pictures(s3, bucket)
    settings = settings_for(made, s3, bucket, audit={"bucket": bucket, "max_rows": 40})
    published = publish_mixed(made, bucket, keys, 200)
    start = partial(start_consumer, environment=s3.environment, arguments=("--until-caught-up",))
    assert start(settings).wait(90) == 0
    assert start(settings, name="auditor", command=("audit", "run")).wait(90) == 0

    def ask(command: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "consumer", "audit", command, "--settings", tmp_path / "auditor.yaml"],
            cwd=tmp_path,
            env={**os.environ, **s3.environment, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    assert ask("verify")[0] == 0
    code, output = ask("reconcile")
    assert code == 0, output
    assert f"200 jobs in 200 records (0 events skipped), {200 - len(published.reasons)} results" in output

    page = s3.client.list_objects_v2(Bucket=bucket, Prefix=f"audit/v1/topic={made.results}")
    lost = next(entry["Key"] for entry in page["Contents"] if entry["Key"].endswith(".parquet"))
    s3.client.delete_object(Bucket=bucket, Key=lost)

    for command in ("verify", "reconcile"):
        code, output = ask(command)
        assert code == 1
        assert lost.removeprefix("audit/v1/") in output


def test_an_outage_of_the_store_only_makes_the_auditor_wait(
    kafka: Kafka, topics: CreateTopics, start_consumer: StartConsumer, tmp_path: Path
) -> None:
    made, bucket = topics(partitions=2), "audit"
    with S3Server() as store:
        store.create_bucket(bucket)
        limit = 300_000
        settings = settings_of(made, store, bucket, max_rows=50, max_buffered_bytes=limit)
        auditor = start_consumer(settings, environment=store.environment, command=("audit", "run"))
        auditor.wait_ready()
        publish_flow(made, 300, seed=1)
        wait_until(lambda: count_files(store, bucket) > 3, within=60, what="files")
        store.stop()
        flow = publish_flow(made, 3000, seed=2)
        wait_until(lambda: auditor.readyz()[1]["store"] != "ok", within=60, what="readiness is red")
        held = "inspection_audit_buffered_bytes"
        wait_until(lambda: auditor.metric(held) >= limit, within=60, what="it is full")
        most = max(auditor.metric(held) for _ in range(20))
        assert most < limit + 3 * 1000 * 2000, "it took one more round from each topic at the most"
        assert auditor.livez()[0] == 200
        store.start()
        auditor.wait_ready()
        auditor.terminate()
        assert auditor.wait(30) == 0
        last = start_consumer(
            settings,
            name="last",
            environment=store.environment,
            command=("audit", "run"),
            arguments=("--until-caught-up",),
        )
        assert last.wait(60) == 0
        library = fetched(store, bucket, tmp_path / "audit")
    assert set(flow.jobs) <= set(library.jobs(made.jobs).collect().select("topic", "partition", "offset").iter_rows())
    outcomes = library.outcomes(made.outcomes).collect()
    assert len(outcomes) == 3300
    assert outcomes.select("source_partition", "source_offset").is_unique().all()
    for topic in (made.jobs, *made.outcomes):
        assert_tiled(library, library.files(topic))


@pytest.mark.parametrize("protocol", ["classic", pytest.param("consumer", marks=pytest.mark.slow)])
def test_two_auditors_catch_up_together_and_leave_no_lag(
    kafka: Kafka,
    s3: S3Server,
    bucket: str,
    topics: CreateTopics,
    start_consumer: StartConsumer,
    tmp_path: Path,
    protocol: str,
) -> None:
    """The markers of transactions behind the last outcome are no lag. Each has a name as a static member, as a pod of a
    StatefulSet has, and is three members."""
    made = topics(partitions=4)
    flow = publish_flow(made, 400, seed=7)
    settings = settings_of(made, s3, bucket)
    pair = []
    for name in "ab":
        extra = {"group.instance.id": name} | (SOON if protocol == "classic" else {})
        own = settings | {"kafka": settings["kafka"] | {"extra": extra, "group_protocol": protocol}}
        pair.append(
            start_consumer(
                own, name=name, environment=s3.environment, command=("audit", "run"), arguments=("--until-caught-up",)
            )
        )
    assert [one.wait(90) for one in pair] == [0, 0]
    assert_audited(fetched(s3, bucket, tmp_path / "audit"), made, flow)
    for topic in (made.jobs, *made.outcomes):
        offsets = LogOffsets(reading_of(loaded(settings), topic))
        assert offsets.committed([0, 1, 2, 3], timeout=10) == offsets.ends(timeout=10)


def loaded(settings: dict[str, Any]) -> Settings:
    return Settings(**settings)


def test_objects_are_encrypted_locked_and_signed_as_the_settings_say(
    kafka: Kafka, s3: S3Server, topics: CreateTopics, start_consumer: StartConsumer, tmp_path: Path
) -> None:
    made, bucket = topics(partitions=1), f"locked-{free_port()}"
    s3.client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    signer = Signer(Ed25519PrivateKey.generate())
    key = base64.b64encode(signer.key.private_bytes_raw()).decode()
    protection = {"encryption": "AES256", "object_lock": "GOVERNANCE", "retention_days": 2}
    publish_flow(made, 60, seed=1)
    auditor = start_consumer(
        settings_of(made, s3, bucket, **protection),
        environment=s3.environment | {"CONSUMER__AUDIT__SIGNING_KEY": key},
        command=("audit", "run"),
        arguments=("--until-caught-up",),
    )
    assert auditor.wait(60) == 0
    assert key not in auditor.log
    pages = s3.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    names = [entry["Key"] for page in pages for entry in page["Contents"]]
    assert len(names) == 1 + 2 * 3  # the probe; of each topic a file and a manifest
    for name in names:
        head = s3.client.head_object(Bucket=bucket, Key=name)
        assert head["ServerSideEncryption"] == "AES256"
        assert head["ObjectLockMode"] == "GOVERNANCE"
        assert head["ObjectLockRetainUntilDate"] > datetime.now(UTC) + timedelta(days=1)
    library = fetched(s3, bucket, tmp_path / "audit")
    manifests = [manifest for topic in library.topics() for _, manifest in library.manifests(topic)]
    assert len(manifests) == 3
    assert all(is_signed_by(manifest, signer.public_key) for manifest in manifests)


@pytest.mark.slow
def test_a_topic_that_was_made_anew_ends_the_auditor_with_1(
    kafka: Kafka, s3: S3Server, bucket: str, topics: CreateTopics, start_consumer: StartConsumer
) -> None:
    made = topics(partitions=1)
    settings = settings_of(made, s3, bucket)
    run = partial(
        start_consumer, environment=s3.environment, command=("audit", "run"), arguments=("--until-caught-up",)
    )
    publish_flow(made, 20, seed=1)
    assert run(settings, name="first").wait(60) == 0
    delete_topics(made)
    wait_until(lambda: is_gone(made), within=30, what="the topics are gone")
    again = create_topics(made.bootstrap_servers, made.jobs.removesuffix(".jobs"), partitions=1)
    publish_flow(again, 50, seed=2)
    second = run(settings, name="second")
    assert second.wait(60) == 1
    assert "was the topic made anew" in second.log_lines[-1]["message"]


def is_gone(topics: Topics) -> bool:
    known = AdminClient({"bootstrap.servers": topics.bootstrap_servers}).list_topics(timeout=10).topics
    return not known.keys() & {topics.jobs, *topics.outcomes}


@pytest.mark.parametrize(
    ("sections", "code", "says"),
    [
        ({"audit": {}}, 2, "audit.bucket: required"),
        ({"audit": {"bucket": "nobody-made-it"}}, 2, "nobody-made-it"),
        ({"audit": {"object_lock": "GOVERNANCE"}}, 2, "object_lock and retention_days go together"),
        ({"audit": {"retention_days": 3, "object_lock": "GOVERNANCE"}}, 2, "InvalidRequest"),
        ({"audit": {"signing_key_file": "/there/is/none.pem"}}, 2, "audit.signing_key_file: /there/is/none.pem"),
        ({"audit": {"signing_key": "bm90IDMyIGJ5dGVz"}}, 2, "audit.signing_key: no Ed25519 private key"),
        ({"topics": {"results": "there-is-none"}}, 2, "there-is-none"),
        ({"kafka": {"bootstrap_servers": "127.0.0.1:9"}, "limits": {"startup_timeout": 1}}, 3, "127.0.0.1:9"),
        ({"s3": {"endpoint_url": "http://127.0.0.1:9"}, "limits": {"startup_timeout": 1}}, 3, "limits.startup_timeout"),
    ],
    ids=str,
)
def test_what_a_person_must_mend_is_one_line_before_the_group_is_joined(
    world: Topics,
    s3: S3Server,
    start_consumer: StartConsumer,
    sections: dict[str, dict[str, Any]],
    code: int,
    says: str,
) -> None:
    settings = settings_of(world, s3, "audit-mistakes")
    for name, section in sections.items():
        settings[name] = {**settings.get(name, {}), **section} if section else {}
    auditor = start_consumer(settings, environment=s3.environment, command=("audit", "run"))
    assert auditor.wait(60) == code
    last = auditor.log_lines[-1]
    assert says in last["message"]
    assert last["exit_code"] == code
    assert "partitions assigned" not in auditor.log


@pytest.fixture(scope="module")
def world(kafka: Kafka, s3: S3Server) -> Iterator[Topics]:
    """A bucket and topics for those who never get to them."""
    s3.create_bucket("audit-mistakes")
    made = create_topics(kafka.bootstrap_servers, f"audit-mistakes-{free_port()}", partitions=1)
    yield made
    delete_topics(made)
