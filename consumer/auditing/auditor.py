"""The auditor's loop: poll, keep, write what is due, commit behind it.

One thread does it all, and nothing of it is lost by dying: what is not in a file is read again, and what is in a file
is met there. Offsets are committed after the file and its manifest.
"""

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from consumer.auditing.desk import Desk
from consumer.auditing.line import Line
from consumer.auditing.metrics import AuditMetrics
from consumer.auditing.scribe import Scribe
from consumer.errors import SettingsError, Unavailable
from consumer.health import Health
from consumer.messages import Record
from consumer.retry import delays
from consumer.settings import Settings

logger = logging.getLogger(__name__)

AT_ONCE = 1000
OBSERVED_EVERY = 1.0
COMMITTED_EVERY = 1.0
PAUSE = 0.02
COMMIT_TIME = 5.0  # seconds that the group may take to answer the last commit

Ends = Mapping[str, Mapping[int, int]]


class Source(Protocol):
    """The partitions of one topic that are ours, see kafka/source.py."""

    @property
    def topic(self) -> str: ...
    @property
    def is_member(self) -> bool: ...
    @property
    def owned(self) -> frozenset[int]: ...
    @property
    def broker_trouble(self) -> str | None: ...
    def open(self) -> None: ...
    def close(self) -> None: ...
    def poll(self, count: int) -> list[Record]: ...
    def pump(self) -> list[Record]: ...
    def pause(self, partitions: Iterable[int]) -> None: ...
    def resume(self, partitions: Iterable[int]) -> None: ...
    def position(self, partition: int) -> int | None: ...
    def high(self, partition: int) -> int | None: ...
    def committed(self, partitions: list[int]) -> dict[int, int | None]: ...
    def commit(self, offsets: dict[int, int]) -> None: ...
    def commit_answer(self, offsets: dict[int, int]) -> object | None: ...


@dataclass(slots=True)
class Post:
    """A topic with where its records come from."""

    desk: Desk
    source: Source
    committed: dict[int, int] = field(default_factory=dict)


class Auditor:
    """All its methods belong to one thread."""

    def __init__(
        self,
        settings: Settings,
        posts: Sequence[Post],
        scribe: Scribe,
        *,
        health: Health,
        metrics: AuditMetrics,
        stopping: threading.Event,
    ) -> None:
        self._audit = settings.audit
        self._drain_timeout = settings.delivery.drain_timeout
        self._posts = posts
        self._scribe = scribe
        self._health = health
        self._metrics = metrics
        self._stopping = stopping
        self._delays = delays()
        self._not_before = 0.0
        self._observed_at = 0.0
        self._compared_at = 0.0
        self._committed_at = 0.0

    def run(self, *, until: Ends | None = None) -> None:
        """Work until asked to stop, or until all that lies before `until` is written. Raises Fatal."""
        opened: list[Post] = []
        try:
            for post in self._posts:
                opened.append(post)
                post.source.open()
            while not self._stopping.is_set() and not (until is not None and self._has_caught_up(until)):
                self._turn(is_last=until is not None and self._has_read(until))
            self._drain()
        finally:
            self._stopping.set()
            for post in opened:
                post.source.close()

    def _turn(self, *, is_last: bool = False) -> None:
        self._health.turned()
        for post in self._posts:
            post.desk.take(post.source.poll(AT_ONCE))
        self._write_due(all_of_it=is_last)
        self._commit()
        self._regulate()
        self._observe()

    # --- writing --------------------------------------------------------------------------------------------------

    def _write_due(self, *, all_of_it: bool = False) -> None:
        """Write what is due; after a refusal, nothing before some time has passed."""
        if time.monotonic() < self._not_before:
            return
        try:
            for post, partition, line in self._lines():
                post.desk.join(partition, line)
                while line.records and (all_of_it or line.is_due(self._audit)):
                    self._write(post, line)
            while self._bytes >= self._audit.max_buffered_bytes:
                post, _, line = max(self._lines(), key=lambda one: one[2].bytes)
                self._write(post, line)
        except (Unavailable, SettingsError) as error:
            # What was refused at the start ended the process; later it is an outage: somebody will mend it.
            self._health.set("store", str(error))
            self._metrics.retries.labels("audit", error.code if isinstance(error, Unavailable) else "refused").inc()
            self._not_before = time.monotonic() + next(self._delays)
            return
        self._health.set("store", None)

    def _write(self, post: Post, line: Line) -> None:
        records = line.part(self._audit)
        started_at = time.monotonic()
        written = self._scribe.write(post.desk.kind, line.begin, records)
        self._health.turned()
        self._delays = delays()
        line.written(written.end)
        topic = post.desk.topic
        self._metrics.write_seconds.observe(time.monotonic() - started_at)
        self._metrics.files.labels(topic, "adopted" if written.is_adopted else "created").inc()
        if not written.is_adopted:
            self._metrics.rows.labels(topic).inc(written.rows)
            self._metrics.bytes.labels(topic).inc(written.bytes)

    def _lines(self) -> list[tuple[Post, int, Line]]:
        return [(post, partition, line) for post in self._posts for partition, line in post.desk.lines.items()]

    @property
    def _bytes(self) -> int:
        return sum(post.desk.bytes for post in self._posts)

    # --- offsets --------------------------------------------------------------------------------------------------

    def _commit(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if not at_once and now - self._committed_at < COMMITTED_EVERY:
            return
        self._committed_at = now
        for post in self._posts:
            offsets = {
                partition: self._done(post, partition, line)
                for partition, line in post.desk.lines.items()
                if line.is_joined
            }
            if offsets and offsets != post.committed:
                post.committed = offsets
                post.source.commit(offsets)

    def _done(self, post: Post, partition: int, line: Line) -> int:
        """Everything before it is in a file, or is no record: where nothing waits, the markers behind the last file
        count too, else monitors would show a lag for ever."""
        position = post.source.position(partition)
        return line.begin if line.records or position is None else max(line.begin, position)

    # --- flow and numbers -----------------------------------------------------------------------------------------

    def _regulate(self) -> None:
        is_full = self._bytes >= self._audit.max_buffered_bytes
        for post in self._posts:
            if is_full:
                post.source.pause(post.source.owned)
            else:
                post.source.resume(post.source.owned)

    def _observe(self) -> None:
        now = time.monotonic()
        if now - self._observed_at < OBSERVED_EVERY:
            return
        self._observed_at = now
        sources = [post.source for post in self._posts]
        outside = [source.topic for source in sources if not source.is_member]
        self._health.set("group", f"not a member of the group for {', '.join(outside)}" if outside else None)
        troubles = [source.broker_trouble for source in sources if source.broker_trouble is not None]
        self._health.set("broker", troubles[0] if troubles else None)
        self._metrics.buffered_bytes.set(self._bytes)
        for post, partition, line in self._lines():
            self._observe_lag(post, partition, line)

    def _observe_lag(self, post: Post, partition: int, line: Line) -> None:
        done, labels = self._done(post, partition, line), (post.desk.topic, str(partition))
        high = max(done, post.source.high(partition) or 0, post.source.position(partition) or 0)
        age = time.time() - line.records[0].timestamp_ms / 1000 if line.records else 0.0
        self._metrics.lag_jobs.labels(*labels).set(high - done)
        self._metrics.lag_seconds.labels(*labels).set(max(0.0, age))

    # --- the end --------------------------------------------------------------------------------------------------

    def _has_read(self, until: Ends) -> bool:
        """Whether everything of ours that was there at the start is read."""
        return all(
            post.source.is_member
            and all(
                (post.source.position(partition) or 0) >= until[post.desk.topic].get(partition, 0)
                for partition in post.source.owned
            )
            for post in self._posts
        )

    def _has_caught_up(self, until: Ends) -> bool:
        """Whether it is written too, and the group has come as far in the partitions of others."""
        if not self._has_read(until) or any(line.records for _, _, line in self._lines()):
            return False
        elsewhere = {
            post.desk.topic: [one for one in until[post.desk.topic] if one not in post.source.owned]
            for post in self._posts
        }
        return not any(elsewhere.values()) or self._have_others(elsewhere, until)

    def _have_others(self, elsewhere: Mapping[str, list[int]], until: Ends) -> bool:
        now = time.monotonic()
        if now - self._compared_at < OBSERVED_EVERY:
            return False
        self._compared_at = now
        for post in self._posts:
            topic = post.desk.topic
            offsets = post.source.committed(elsewhere[topic])
            if any((offsets.get(partition) or 0) < until[topic][partition] for partition in elsewhere[topic]):
                return False
        return True

    def _drain(self) -> None:
        """Write what is in hand, and let the group hear of it."""
        end = time.monotonic() + self._drain_timeout
        self._health.set("group", "stopping")
        self._write_due(all_of_it=True)
        while any(line.records for _, _, line in self._lines()) and time.monotonic() < end:
            self._pump()
            self._write_due(all_of_it=True)
        self._commit(at_once=True)
        end = time.monotonic() + COMMIT_TIME
        while time.monotonic() < end and not all(self._is_answered(post) for post in self._posts):
            self._pump()
        left = sum(len(line.records) for _, _, line in self._lines())
        logger.info("leaving the group", extra={"records_given_back": left})

    def _pump(self) -> None:
        """Keep the memberships; what comes now is somebody's work later."""
        self._health.turned()
        for post in self._posts:
            post.source.pump()
        time.sleep(PAUSE)

    def _is_answered(self, post: Post) -> bool:
        return not post.committed or post.source.commit_answer(post.committed) is not None
