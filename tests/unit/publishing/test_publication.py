"""Is every job of a publication acknowledged, or kept to be sent again?"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from consumer.errors import Unavailable
from consumer.kafka.publisher import Refused, Report
from consumer.publishing.drafts import Draft, Template
from consumer.publishing.publication import Pacer, Publication, Unsent, open_publication
from consumer.publishing.stopping import Stopping
from consumer.settings import Settings
from tests.rigs.full_disk import files_of_at_most

QUICK = {"message.timeout.ms": 3000}  # beyond what a busy machine takes to acknowledge the first
DRAFTS = [Template().of_image("parts", f"{number}.jpg") for number in range(20)]


class Cluster:
    """librdkafka's mock cluster, until `stop`."""

    def __init__(self) -> None:
        self._owner: Producer | None = Producer({"test.mock.num.brokers": 1, "log_level": 0})
        brokers = self._owner.list_topics(timeout=10).brokers.values()
        self.servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def stop(self) -> None:
        self._owner = None

    def settings(self, **extra: Any) -> Settings:
        kafka = {"bootstrap_servers": self.servers, "extra": extra}
        return Settings.model_validate({"kafka": kafka, "images": {"allowed_buckets": ["parts"]}})


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.stop()


def stopping_behind(count: int, stop: Any) -> Iterator[Draft]:
    for number, draft in enumerate(DRAFTS):
        if number == count:
            stop()
        yield draft


def kept(publication: Publication) -> list[bytes]:
    assert publication.unsent.path is not None
    lines = publication.unsent.path.read_bytes().splitlines()
    publication.unsent.path.unlink()
    return lines


def test_all_jobs_are_acknowledged_and_no_file_is_made(cluster: Cluster) -> None:
    told: list[int] = []
    with open_publication(cluster.settings()) as publication:
        publication.run(DRAFTS, tell=lambda: told.append(publication.acknowledged))

    assert (publication.taken, publication.acknowledged, publication.unsent.count) == (20, 20, 0)
    assert publication.unsent.path is None
    assert told[-1] == 20


@pytest.mark.thorough
def test_when_the_broker_vanishes_every_job_is_acknowledged_or_kept(cluster: Cluster) -> None:
    def stop() -> None:
        publication._publisher.flush()
        cluster.stop()

    with open_publication(cluster.settings(**QUICK), key="folder") as publication:
        publication.run(stopping_behind(5, stop))

    assert (publication.taken, publication.acknowledged, publication.unsent.count) == (20, 5, 15)
    assert len(publication.unsent.first) == 3
    assert publication.unsent.first[0].startswith("s3://parts/5.jpg: ")
    assert kept(publication) == [draft.value for draft in DRAFTS[5:]]


def test_after_an_outage_nothing_more_is_tried(cluster: Cluster) -> None:
    """A million jobs would wait for their time-out one queue after the other. This broker would take them."""
    with open_publication(cluster.settings()) as publication:
        publication._note(DRAFTS[0], Refused("the broker is gone"))
        publication.run(DRAFTS[1:])

    assert publication.acknowledged == 0
    assert kept(publication) == [draft.value for draft in DRAFTS]


class LatePublisher:
    """Refuses all: the first record once the third is sent, the others when they are waited for."""

    def __init__(self) -> None:
        self.reports: list[Callable[[Report], None]] = []

    def send(self, *_: object, on_done: Callable[[Report], None]) -> None:
        self.reports.append(on_done)
        if len(self.reports) == 3:
            self.reports.pop(0)(Refused("gone"))

    def flush(self, _: float | None = None) -> None:
        while self.reports:
            self.reports.pop(0)(Refused("gone"))

    def give_up(self) -> None:
        self.flush()


def test_jobs_are_kept_in_their_order_though_reports_come_late() -> None:
    with Unsent() as unsent:
        publication = Publication(LatePublisher(), unsent)  # type: ignore[arg-type]
        publication.run(DRAFTS)

    assert kept(publication) == [draft.value for draft in DRAFTS]


def test_a_job_that_is_too_large_costs_no_other_one(cluster: Cluster) -> None:
    large = Template(metadata='"' + "x" * 9000 + '"').of_image("parts", "large.jpg")
    with open_publication(cluster.settings(**{"message.max.bytes": 5000})) as publication:
        publication.run([*DRAFTS[:3], large, *DRAFTS[3:]])

    assert publication.acknowledged == 20
    assert kept(publication) == [large.value]


def test_what_fails_in_the_listing_comes_through_after_all_before_it_is_acknowledged(cluster: Cluster) -> None:
    def fail() -> None:
        raise Unavailable("SlowDown", "the store is gone")

    with open_publication(cluster.settings()) as publication:
        with pytest.raises(Unavailable):
            publication.run(stopping_behind(5, fail))

        assert publication.acknowledged == 5
        assert publication.last == DRAFTS[4].image


def test_stopping_takes_no_more_jobs_and_waits_for_those_taken(cluster: Cluster) -> None:
    stopping = Stopping()
    with open_publication(cluster.settings(), stopping=stopping) as publication:
        publication.run(stopping_behind(5, stopping.event.set))

    assert (publication.taken, publication.acknowledged, publication.unsent.count) == (5, 5, 0)


class SilentPublisher(LatePublisher):
    """Nothing is acknowledged; the person loses patience the second time they wait."""

    def __init__(self, stopping: Stopping) -> None:
        super().__init__()
        self.stopping = stopping
        self.waits = 0

    def flush(self, timeout: float | None = None) -> int:  # type: ignore[override]
        self.waits += timeout is not None
        if self.waits == 2:
            self.stopping.at_once.set()
        assert self.waits <= 2, "it still waits"
        return len(self.reports)

    def give_up(self) -> None:
        super().flush(None)


def test_one_in_a_hurry_waits_no_longer_and_all_is_kept() -> None:
    stopping = Stopping()
    with Unsent() as unsent:
        publication = Publication(SilentPublisher(stopping), unsent, stopping=stopping)  # type: ignore[arg-type]
        publication.run(stopping_behind(2, stopping.event.set))

    assert kept(publication) == [draft.value for draft in DRAFTS[:2]]


def test_on_a_full_disk_all_unsent_jobs_are_counted_and_the_file_holds_whole_lines() -> None:
    with Unsent() as unsent, files_of_at_most(200):
        for draft in DRAFTS:
            unsent.add(draft, "gone")

    assert unsent.path is not None
    lines = unsent.path.read_bytes().splitlines()
    unsent.path.unlink()
    assert (unsent.count, unsent.kept, unsent.fault) == (20, len(lines), "File too large")
    assert lines == [draft.value for draft in DRAFTS[: len(lines)]]
    assert 0 < len(lines) < 20


def test_a_file_that_holds_nothing_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Unsent() as unsent, files_of_at_most(10):
        unsent.add(DRAFTS[0], "gone")

    assert (unsent.count, unsent.kept, unsent.path) == (1, 0, None)
    assert list(tmp_path.iterdir()) == []


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_turns_are_evenly_spaced_and_the_first_is_at_once() -> None:
    clock = Clock()
    pacer = Pacer(50, clock=clock)

    assert [round(pacer.take(), 6) for _ in range(4)] == [0, 0.02, 0.04, 0.06]


def test_a_short_delay_is_made_up_for_and_a_long_one_makes_no_burst() -> None:
    clock = Clock()
    pacer = Pacer(10, clock=clock)
    pacer.take()

    clock.now += 0.15
    assert [round(pacer.take(), 6) for _ in range(2)] == [-0.05, 0.05]
    clock.now += 3600
    assert [round(pacer.take(), 6) for _ in range(3)] == [-0.1, 0, 0.1]
