"""The loop: poll no more than there is room for, hand out, deliver, revoke, drain.

The only thread that touches Kafka runs `Runner.run`. Worker threads do the jobs and put their outcomes down in the
ledger; everything else happens here, one turn after the other.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import Protocol

from consumer.admission import Admission
from consumer.custody import DEATHS, Custodian, Delivered, Owned, Position
from consumer.errors import Abandoned, CheckFailed, Fatal, Rejected, TooManyDeadLetters
from consumer.guard import DeadLetterGuard
from consumer.health import Health
from consumer.inspector import Claim
from consumer.intake import contents_of, name_of
from consumer.ledger import Entry, Ledger, Place
from consumer.messages import DeadLetter, Job, Message, Outcome, Record, dead_letter_of
from consumer.metrics import Metrics
from consumer.settings import Settings
from consumer.tracing import Tracing

logger = logging.getLogger(__name__)

Head = Entry[int, Message]

MOST_PER_DELIVERY = 500
MANY = MOST_PER_DELIVERY // 2  # finished heads for which the interval is not waited out
REVOCATION_TIME = 5.0
OBSERVED_EVERY = 1.0
FEW = 8  # jobs of a partition that may be begun before the next delivery says how many there are


class Source(Protocol):
    """The consuming side of Kafka, see kafka/source.py."""

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


class Delivery(Protocol):
    """How heads leave, see kafka/exactly_once.py."""

    def deliver(
        self, heads: Sequence[Head], *, notes: Sequence[Position] = (), within: float | None = None
    ) -> Delivered: ...
    def tend(self) -> None: ...
    def close(self) -> None: ...


class Stopped(Enum):
    """Why the loop ended without an error."""

    ASKED = "asked to stop"
    CAUGHT_UP = "caught up"


class Runner:
    """Owns the ledger and the workers. Its methods are called from its own thread, but for `stop` and `fail`."""

    def __init__(
        self,
        settings: Settings,
        *,
        inspect: Callable[[Job, Claim], Outcome],
        encode: Callable[[Outcome], Message],
        health: Health,
        metrics: Metrics,
        stopping: threading.Event,
        tracing: Tracing | None = None,
    ) -> None:
        limits = settings.limits
        self._settings = settings
        self._inspect = inspect
        self._encode = encode
        self._health = health
        self._metrics = metrics
        self._stopping = stopping
        self._tracing = tracing
        self._ledger: Ledger[int, Message] = Ledger(time.monotonic)
        self._custodian = Custodian(secrets.token_hex(4), self._ledger, limits.max_in_flight)
        self._admission: Admission[int, Record] = Admission(limits.max_in_flight, self._ledger.count)
        self._guard = DeadLetterGuard(limits)
        self._workers = ThreadPoolExecutor(limits.max_in_flight, thread_name_prefix="worker")
        self._until: Mapping[int, int] | None = None
        self._fatal: Fatal | None = None
        self._is_delivering = False
        self._is_held = False
        self._may_hand_over = True
        self._delivered_at = 0.0
        self._observed_at = 0.0
        self._compared_at = 0.0
        self._drain_until: float | None = None

    # --- the loop -------------------------------------------------------------------------------------------------

    def run(self, source: Source, delivery: Delivery, *, until: Mapping[int, int] | None = None) -> Stopped:
        """Join the group and work until asked to stop, or until the group has come to the offsets of `until` in every
        partition. Raises Fatal. Whatever happens, the group is left on the way out."""
        self._source, self._delivery, self._until = source, delivery, until
        source.open()
        try:
            while not self._stopping.is_set():
                if until is not None and self._has_caught_up(until):
                    return Stopped.CAUGHT_UP
                self._turn()
            self._drain()
            return Stopped.ASKED
        except Abandoned:  # the broker did not answer, and the time to wait for it is over
            return Stopped.ASKED
        except Fatal:  # what stands in the way of the process stands in the way of its outcomes
            self._may_hand_over = self._is_held
            raise
        finally:
            self._leave()

    def _turn(self) -> None:
        self._health.turned()
        self._take_in(self._source.poll(self._admission.wanted))
        if self._drain_until is None and not self._is_held:
            self._start_admitted()
        self._deliver_when_due()
        self._delivery.tend()
        self._regulate()
        self._observe()
        if self._fatal is not None:
            raise self._fatal

    def fail(self, error: Fatal) -> None:
        """End the process with this error at the next turn. From any thread."""
        self._fatal = self._fatal or error

    # --- taking in ------------------------------------------------------------------------------------------------

    def _take_in(self, records: Iterable[Record]) -> None:
        for record in records:
            self._admission.hold(record.partition, record)

    def _start_admitted(self) -> None:
        for partition, record in self._admission.admitted(self._custodian.may_start):
            timestamp = record.timestamp_ms / 1000
            try:
                contents = contents_of(record)
            except Rejected as rejection:
                entry = self._ledger.open(partition, record.offset, 1, timestamp=timestamp)
                letter = DeadLetter(record, name_of(record), rejection.reason, rejection.stage, str(rejection))
                entry.finish(0, self._encode(letter))
                continue
            jobs, skipped = contents.jobs, contents.skipped
            entry = self._ledger.open(partition, record.offset, len(jobs), timestamp=timestamp, skipped=skipped)
            self._start(jobs, entry)

    def _start(self, jobs: Sequence[Job], entry: Head) -> None:
        pairs = list(zip(jobs, entry.places, strict=True))
        if not self._custodian.is_careful(entry.partition):
            for job, place in pairs:
                self._workers.submit(self._work, job, place)
            return
        entry.leave = self._custodian.ask
        for job, place in pairs:
            if self._custodian.has_killed(place):
                place.finish(self._encode(_killed(job)))
        self._workers.submit(self._work_in_turn, [(job, place) for job, place in pairs if not place.is_finished])

    def _work_in_turn(self, pairs: Sequence[tuple[Job, Place[int, Message]]]) -> None:
        for job, place in pairs:
            self._work(job, place)

    def _work(self, job: Job, place: Place[int, Message]) -> None:
        """A worker's whole task; an error that escapes from here is a bug, and ends the process by its name."""
        try:
            if not place.is_dropped:
                place.finish(self._encode(self._inspect(job, place)))
        except Abandoned:
            pass
        except Fatal as error:
            self.fail(error)
        except BaseException as error:
            logger.exception("a worker failed", extra={"job_id": job.job_id})
            self.fail(Fatal(f"a worker failed: {type(error).__name__}: {error}"))

    # --- delivering -----------------------------------------------------------------------------------------------

    def _deliver_when_due(self) -> None:
        heads = self._ledger.finished_heads(MOST_PER_DELIVERY)
        waited = time.monotonic() - self._delivered_at
        is_due = waited >= self._settings.delivery.interval or self._drain_until is not None
        notes = [] if self._is_held else self._custodian.notes(heads)
        is_waited_for = bool(notes) or self._custodian.holder in heads
        if self._is_held or not (heads or notes) or not (is_due or is_waited_for or len(heads) >= MANY):
            return
        self._deliver(heads, notes)

    def _deliver(self, heads: Sequence[Head], notes: Sequence[Position] = (), *, within: float | None = None) -> None:
        try:
            self._guard.check(message.reason for head in heads for message in head.outcomes)
        except TooManyDeadLetters as error:
            self._hold(error)
            return
        started_at = self._delivered_at = time.monotonic()
        self._is_delivering = True
        try:
            delivered = self._delivery.deliver(heads, notes=notes, within=within)
        finally:
            self._is_delivering = False
        self._metrics.delivery_seconds.observe(time.monotonic() - started_at)
        self._metrics.deliveries.labels("committed" if delivered.offsets else "unfinished").inc()
        if delivered.offsets:
            self._health.set("delivery", None)
        else:
            self._delivered_at = 0.0  # the next turn tries again
        for partition, next_offset in delivered.offsets.items():
            entries = self._ledger.remove_below(partition, next_offset)
            self._custodian.moved(partition, next_offset, sum(entry.jobs for entry in entries))
            self._done(entries)
        self._custodian.noted(delivered.noted)

    def _done(self, entries: Iterable[Head]) -> None:
        now = time.monotonic()
        for entry in entries:
            messages = entry.outcomes if entry.is_finished else ()
            self._guard.note(message.reason for message in messages)
            for reason in entry.skipped:
                self._metrics.jobs.labels("skipped", reason).inc()
            for message in messages:
                kind = "result" if message.reason is None else "dead_letter"
                self._metrics.jobs.labels(kind, message.reason or "").inc()
            if entry.jobs:
                self._metrics.stage_seconds.labels("deliver").observe(now - entry.finished_at)
            if self._tracing is not None:
                self._tracing.delivered(entry)

    def _hold(self, error: TooManyDeadLetters) -> None:
        """Stay in the group, take nothing more, deliver nothing more, until a person restarts the process: exiting
        would let a restart loop drain the topic."""
        self._is_held = True
        self._health.set("dead_letters", str(error))
        if self._until is not None:  # nobody restarts a batch run, and somebody waits for it to end
            self.fail(CheckFailed(str(error)))
            return
        logger.error("holding: nothing more is delivered until a restart", extra={"reason": str(error)})

    # --- what the delivery asks of us -----------------------------------------------------------------------------

    def owns(self, one: Owned) -> bool:
        return self._ledger.owns(one.partition, one.epoch)

    def note(self, partition: int, offset: int) -> str:
        in_flight = max(self._ledger.count(partition), FEW)
        return self._custodian.note(partition, offset, in_flight=in_flight)

    def pump(self, reason: str) -> None:
        """Between repeats of a delivery's call: keep the membership, and give up when a stop has waited long enough."""
        self._health.turned()
        self._health.set("delivery", reason)
        self._take_in(self._source.pump())
        if self._stopping.is_set() and self._drain_until is None:
            self._drain_until = time.monotonic() + self._settings.delivery.drain_timeout
        if self._drain_until is not None and time.monotonic() > self._drain_until:
            self._may_hand_over = False  # the revocation on leaving must not wait for it anew
            raise Abandoned("stopped while the broker did not answer")

    def exchange(self, head: Head, index: int, fact: str) -> None:
        """The broker refuses an outcome of this head for good: a result becomes a dead letter, and a dead letter goes
        on without its value."""
        message = head.outcomes[index]
        letter = dead_letter_of(message.outcome, "result_too_large", "deliver", f"the broker refused it: {fact}")
        if message.reason is not None and message.value is None:
            raise Fatal(f"the broker refuses a dead letter without a value: {fact}")
        head.replace(index, self._encode(letter))
        logger.warning("outcome refused by the broker", extra={"job_id": letter.job_id, "reason": fact})

    # --- rebalances, called inside poll ---------------------------------------------------------------------------

    def assigned(self, partitions: list[int]) -> None:
        for partition in partitions:
            self._ledger.assign(partition)
            self._admission.assign(partition)
        self._count("assigned", partitions)

    def placed(self, partition: int, offset: int, note: str) -> None:
        """What the owner before left: after a death its jobs are done one at a time."""
        self._custodian.take_over(partition, offset, note)

    def revoked(self, partitions: list[int]) -> None:
        """Deliver what is finished, if that is quick; the rest the next owner does again. Who holds hands over what it
        has not delivered: its process did not die of it."""
        finished = [] if self._is_held else self._ledger.finished_heads(MOST_PER_DELIVERY)
        heads = [head for head in finished if head.partition in partitions]
        if not self._is_delivering and self._may_hand_over:
            with self._custodian.releasing(partitions) as notes:
                if heads or notes:
                    self._deliver(heads, notes, within=REVOCATION_TIME)
        self._drop(partitions)
        self._count("revoked", partitions)

    def lost(self, partitions: list[int]) -> None:
        """Another member has them already: nothing of theirs may be delivered."""
        self._drop(partitions)
        self._count("lost", partitions)

    def _drop(self, partitions: list[int]) -> None:
        for partition in partitions:
            self._ledger.drop(partition)
            self._admission.drop(partition)
            self._custodian.drop(partition)
            for gauge in (self._metrics.lag_jobs, self._metrics.lag_seconds):
                gauge.remove(self._source.topic, str(partition))
        if self._tracing is not None:
            self._tracing.dropped()

    def _count(self, event: str, partitions: list[int]) -> None:
        self._metrics.rebalances.labels(event).inc(len(partitions))
        if partitions:
            logger.info("partitions %s", event, extra={"partitions": sorted(partitions)})

    # --- flow and numbers -----------------------------------------------------------------------------------------

    def _regulate(self) -> None:
        if self._is_held or self._drain_until is not None:
            self._source.pause(self._source.owned)
            return
        self._source.pause(self._admission.full())
        self._source.resume(self._admission.drained())

    def _observe(self) -> None:
        now = time.monotonic()
        if now - self._observed_at < OBSERVED_EVERY:
            return
        self._observed_at = now
        if self._drain_until is None:
            self._health.set("group", None if self._source.is_member else "not a member of the group")
        self._health.set("broker", self._source.broker_trouble)
        self._metrics.in_flight_jobs.set(len(self._ledger))
        self._metrics.careful_partitions.set(self._custodian.careful_count)
        for partition in self._source.owned:
            self._observe_lag(partition)

    def _observe_lag(self, partition: int) -> None:
        waiting = self._first_waiting(partition)
        position = waiting[0] if waiting else self._source.position(partition)
        if position is None:
            return
        labels = (self._source.topic, str(partition))
        high = max(position, self._source.high(partition) or 0, self._source.position(partition) or 0)
        self._metrics.lag_jobs.labels(*labels).set(high - position)
        self._metrics.lag_seconds.labels(*labels).set(max(0.0, time.time() - waiting[1]) if waiting else 0.0)

    def _first_waiting(self, partition: int) -> tuple[int, float] | None:
        """Offset and timestamp (seconds) of the oldest record that is not delivered yet, as far as we have it."""
        if (entry := self._ledger.oldest(partition)) is not None:
            return entry.offset, entry.timestamp
        if (record := self._admission.first(partition)) is not None:
            return record.offset, record.timestamp_ms / 1000
        return None

    def _has_caught_up(self, until: Mapping[int, int]) -> bool:
        owned = self._source.owned
        if not self._source.is_member or not all(self._has_passed(number, until.get(number, 0)) for number in owned):
            return False
        elsewhere = [partition for partition in until if partition not in owned]
        return not elsewhere or self._have_others_passed(elsewhere, until)

    def _have_others_passed(self, partitions: list[int], until: Mapping[int, int]) -> bool:
        """What is not ours is done when the group says so, else a partition on its way between two members would be
        left to nobody. For the others' sake we say how far we are, markers of transactions counted."""
        now = time.monotonic()
        if now - self._compared_at < OBSERVED_EVERY:
            return False
        self._compared_at = now
        if self._source.owned:
            passed = {number: self._source.position(number) or 0 for number in self._source.owned}
            self._source.commit(passed)
            for partition, offset in passed.items():
                self._custodian.moved(partition, offset, 0)
        offsets = self._source.committed(partitions)
        return all((offsets.get(partition) or 0) >= until[partition] for partition in partitions)

    def _has_passed(self, partition: int, offset: int) -> bool:
        waiting = self._first_waiting(partition)
        position = self._source.position(partition)
        return position is not None and position >= offset and (waiting is None or waiting[0] >= offset)

    # --- the end --------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Take no more jobs, give those in hand their time, deliver."""
        self._drain_until = self._drain_until or time.monotonic() + self._settings.delivery.drain_timeout
        self._health.set("group", "stopping")
        for partition in self._source.owned:
            self._admission.assign(partition)  # what was waiting goes back to the log
        logger.info("draining", extra={"jobs": len(self._ledger)})
        while len(self._ledger) and not self._is_held and time.monotonic() < self._drain_until:
            try:
                self._turn()
            except Abandoned:
                break

    def _leave(self) -> None:
        """Leaving the group revokes what is ours, which delivers once more what is finished."""
        self._stopping.set()
        undone = len(self._ledger)
        try:
            self._source.close()
        finally:
            self._delivery.close()
            for partition in self._ledger.partitions:
                self._ledger.drop(partition)
            self._workers.shutdown(wait=False, cancel_futures=True)
        logger.info("left the group", extra={"jobs_given_back": undone})


def _killed(job: Job) -> DeadLetter:
    return DeadLetter(
        record=job.record,
        job_id=job.job_id,
        reason="process_killed",
        stage="decode",
        message=f"{DEATHS} processes died while they had this job alone in hand (decoding or detection)",
        attempts=DEATHS,
        index=job.index_among_siblings,
    )
