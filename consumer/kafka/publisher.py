"""How do records get onto a topic, each one acknowledged or named with the reason why it was not?"""

import contextlib
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, cast

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as KafkaMessage
from confluent_kafka.admin import AdminClient, ClusterMetadata

from consumer.errors import SettingsError, Unavailable
from consumer.kafka.client import (
    MISSING_ACL,
    admin_properties,
    describe,
    make,
    missing_right,
    producer_properties,
)
from consumer.kafka.rights import ask_topic_rights
from consumer.kafka.topics import ask_metadata, is_mock, refuse_missing_right, size_limits
from consumer.messages import Headers, size_of
from consumer.settings import Settings

TIMEOUT = 10.0
ANSWER_TIMEOUT = 30.0
"""A restart of the only broker is outlived; after it a record is given up, with its reason."""

_POLL = 0.1
_BATCH = 1_000_000
_OF_RECORD = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD, KafkaError.RECORD_LIST_TOO_LARGE})


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """All in-sync replicas have the record, and it lies here."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The record was not acknowledged. With `is_at_fault` another one may be; else nothing will be for now. One that
    timed out may have been stored all the same."""

    reason: str
    is_at_fault: bool = False


Report = Acknowledged | Refused


class Publisher:
    """Publishes to one topic (the jobs topic unless named), idempotently and with acks=all; use it in a `with`.

    Records with a key go to the partition that Java's producers choose for it, those without are dealt out in turn.
    Reports come in the caller's thread, from `send`, `poll` and `flush`. Once `stopping` is set nothing is waited for.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        topic: str | None = None,
        stopping: threading.Event | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        """Raises SettingsError for a topic that does not exist or may not be written, or records that would be waited
        for without end; Unavailable without an answer."""
        _check_patience(settings)
        self.topic = topic or settings.topics.jobs
        self._servers = settings.kafka.bootstrap_servers
        self._stopping = stopping or threading.Event()
        refusals: list[KafkaError] = []
        admin = make(AdminClient, admin_properties(settings) | {"error_cb": refusals.append})
        metadata = ask_metadata(settings, admin, refusals, topic=self.topic, timeout=timeout)
        if not is_mock(metadata):
            rights = ask_topic_rights(admin, [self.topic], timeout=timeout)
            refuse_missing_right(self.topic, rights.get(self.topic), "WRITE", key="kafka")
        self._turns = itertools.cycle(range(self._count_partitions(metadata)))
        self.max_bytes = size_limits(admin, [self.topic], metadata, timeout=timeout)[self.topic]
        self.waiting = 0
        """Records whose report has not come."""
        self._end = "interrupted before the broker acknowledged it"
        """Why what is purged was not sent."""
        self._producer = make(Producer, self._properties(settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_up()

    def send(
        self,
        value: bytes | None,
        key: bytes | None = None,
        headers: Headers = (),
        *,
        partition: int | None = None,
        on_done: Callable[[Report], None] = lambda _: None,
    ) -> None:
        """Hand one record over, to `partition` where that is given; `on_done` is called exactly once, perhaps before
        this returns.

        It waits while too many records wait for the broker already. Raises nothing: what is wrong is reported.
        """
        if self.max_bytes is not None and (size := size_of(value, key, headers)) > self.max_bytes:
            fact = f"it has {size} bytes, limit {self.max_bytes} (max.message.bytes of {self.topic})"
            on_done(Refused(fact, is_at_fault=True))
            return
        place = partition if partition is not None else self._place(key)
        report = partial(self._reported, on_done=on_done)
        while True:
            try:
                given = cast(Any, list(headers))
                self._producer.produce(self.topic, value, key, partition=place, headers=given, on_delivery=report)
            except KafkaException as error:
                on_done(self._refused(error.args[0]))
                return
            except BufferError:
                if self._stopping.is_set():
                    on_done(Refused("interrupted"))
                    return
                if not self.waiting:
                    on_done(Refused("it is larger than the producer's whole queue", is_at_fault=True))
                    return
                self.poll(_POLL)
            else:
                self.waiting += 1
                self.poll()
                return

    def _place(self, key: bytes | None) -> int:
        return -1 if key is not None else next(self._turns)

    def poll(self, timeout: float = 0.0) -> None:
        """Serve the reports that came, waiting up to `timeout` seconds for the first."""
        self._serve(self._producer.poll, timeout)

    def flush(self, timeout: float | None = None) -> int:
        """Wait for all reports (for `timeout` seconds); returns how many are still missing."""
        turns = itertools.count() if timeout is None else range(int(timeout / _POLL))
        for _ in turns:
            if not self.waiting or (timeout is None and self._stopping.is_set()):
                break
            self._serve(self._producer.flush, _POLL)  # unlike poll it does not linger for fuller batches
        return self.waiting

    def give_up(self) -> None:
        """Report everything that was not acknowledged as refused; nothing can be sent any more."""
        self._producer.purge()
        with contextlib.suppress(KafkaException, SystemError):  # fatal, and known
            self._producer.flush(TIMEOUT)

    def _serve(self, call: Callable[[float], object], timeout: float) -> None:
        """A fatal error is raised once by what serves it, as a SystemError's cause where a report came right behind it:
        this producer sends nothing any more."""
        try:
            call(timeout)
        except (KafkaException, SystemError) as error:
            fatal = error if isinstance(error, KafkaException) else error.__cause__
            if not isinstance(fatal, KafkaException):
                raise
            self._end = self._refused(fatal.args[0]).reason
            self.give_up()

    def _reported(self, error: KafkaError | None, record: KafkaMessage, *, on_done: Callable[[Report], None]) -> None:
        self.waiting -= 1
        if error is not None:
            on_done(self._refused(error))
        else:
            on_done(Acknowledged(cast(int, record.partition()), cast(int, record.offset())))

    def _refused(self, error: KafkaError) -> Refused:
        if error.code() in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
            return Refused(self._end)
        fact = missing_right(error) if error.code() in MISSING_ACL else describe(error)
        return Refused(fact, is_at_fault=error.code() in _OF_RECORD)

    # --- opening --------------------------------------------------------------------------------------------------

    def _properties(self, settings: Settings) -> dict[str, Any]:
        own: dict[str, Any] = {
            "partitioner": "murmur2_random",  # Java's, so that a key has one partition whoever sends it
            "queue.buffering.max.messages": 10_000,
            "queue.buffering.max.kbytes": 65_536,
            # The broker measures batches, not records, by the topic's limit.
            "batch.size": min(self.max_bytes or _BATCH, _BATCH),
        }
        quiet = {"log_level": 0}  # reports say what went wrong
        patient = {"message.timeout.ms": settings.kafka.extra.get("message.timeout.ms", int(ANSWER_TIMEOUT * 1000))}
        return own | producer_properties(settings) | quiet | patient

    def _count_partitions(self, metadata: ClusterMetadata) -> int:
        found = metadata.topics[self.topic]
        trouble: KafkaError | None = found.error
        if trouble is not None and trouble.code() in MISSING_ACL:
            raise SettingsError(f"kafka: {missing_right(trouble)}")
        if trouble is not None and trouble.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise SettingsError(f"topic {self.topic} does not exist on {self._servers}")
        if trouble is not None or not found.partitions:
            raise Unavailable("broker", f"topic {self.topic} has no partitions to be seen yet on {self._servers}")
        return len(found.partitions)


def _check_patience(settings: Settings) -> None:
    for name in ("message.timeout.ms", "delivery.timeout.ms"):  # one property with two names
        if str(settings.kafka.extra.get(name)).strip() == "0":
            raise SettingsError(f"kafka.extra.{name}: 0 waits without end for a broker that is gone")
