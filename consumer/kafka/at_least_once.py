"""How finished heads leave at least once: outcomes first, then the offsets they cover."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from confluent_kafka import KafkaError, KafkaException, Producer

from consumer.custody import NOTHING, Delivered, Owned, Position
from consumer.kafka.client import (
    CALL_TIMEOUT,
    MISSING_ACL,
    REFUSED_PAUSE,
    describe,
    make,
    missing_right,
    producer_properties,
)
from consumer.kafka.outlet import Head, Isolation, Outlet, let_go
from consumer.kafka.source import Source
from consumer.kafka.topics import Topics
from consumer.settings import Settings

logger = logging.getLogger(__name__)


class AtLeastOnce:
    """Produces with an idempotent producer and commits when every report is good. The commit is not waited for: its
    answer comes with a later poll, and until then nothing more is delivered. Same calls as `ExactlyOnce`."""

    def __init__(
        self,
        settings: Settings,
        topics: Topics,
        source: Source,
        *,
        owns: Callable[[Owned], bool],
        pump: Callable[[str], None],
        exchange: Callable[[Head, int, str], None],
    ) -> None:
        self._topics = topics
        self._source = source
        self._owns = owns
        self._pump = pump
        self._exchange = exchange
        self._properties = {"batch.size": topics.max_batch_bytes} | producer_properties(settings)
        self._producer: Producer | None = None
        self._produced: set[Head] = set()  # reported good, not committed yet
        self._committing: Delivered | None = None
        self._isolation = Isolation()
        self._not_before = 0.0

    def open(self) -> None:
        """Raises SettingsError for properties that librdkafka does not accept."""
        self._live()

    def _live(self) -> Producer:
        if self._producer is None:
            self._producer = make(Producer, self._properties)
        return self._producer

    def tend(self) -> None:
        """See `ExactlyOnce.tend`."""
        if self._producer is not None:
            with suppress(KafkaException):
                self._producer.poll(0)

    def close(self) -> None:
        if self._producer is not None:
            let_go(self._producer)
            self._producer = None

    def deliver(
        self, heads: Sequence[Head], *, notes: Sequence[Position] = (), within: float | None = None
    ) -> Delivered:
        """See `ExactlyOnce.deliver`."""
        if self._committing is not None:
            return self._committed(within)
        if time.monotonic() < self._not_before:
            return NOTHING
        selected = self._isolation.select(heads)
        self._produce([head for head in selected if head not in self._produced], within)
        self._produced = {head for head in self._produced if self._owns(head)}
        offsets = self._contiguous(selected)
        is_whole = all(head in self._produced for head in heads)
        noted = tuple(note for note in notes if is_whole and self._owns(note))
        offsets = {note.partition: note.offset for note in noted} | offsets
        if offsets:
            self._source.commit(offsets)
            self._committing = Delivered(offsets, noted)
        return NOTHING

    def _committed(self, within: float | None) -> Delivered:
        sent = self._committing or NOTHING
        answer = self._source.commit_answer(sent.offsets)
        if answer is None:
            return NOTHING
        self._committing = None
        if answer[0] is not None:
            logger.info("delivery failed", extra={"error": describe(answer[0])})
            self._rest_if_refused(answer[0], within)
            return NOTHING
        self._produced = {head for head in self._produced if head.offset >= sent.offsets.get(head.partition, 0)}
        self._isolation.succeeded()
        return sent

    def _produce(self, heads: Sequence[Head], within: float | None) -> None:
        producer = self._live()
        outlet = Outlet(self._topics)
        outlet.send(producer, heads)
        until = time.monotonic() + (within or CALL_TIMEOUT)
        while outlet.waiting:
            try:
                producer.poll(0.05)
            except KafkaException as error:  # a fatal one: its sequence is broken
                logger.info("delivery failed", extra={"error": describe(error.args[0])})
                self.close()
                return
            if time.monotonic() < until:
                continue
            if within is not None:
                break
            self._pump("outcomes are not acknowledged")
        if not outlet.waiting:
            self._produced.update(head for head in heads if head not in outlet.failed)
        self._note_failures(heads, outlet)
        if outlet.failed:
            self._rest_if_refused(next(iter(outlet.failed.values())), within)  # all meet the same one

    def _rest_if_refused(self, error: KafkaError, within: float | None) -> None:
        """See `ExactlyOnce`."""
        if error.code() in MISSING_ACL:
            self._not_before = time.monotonic() + REFUSED_PAUSE
            if within is None:
                self._pump(missing_right(error))

    def _note_failures(self, heads: Sequence[Head], outlet: Outlet) -> None:
        for head, error in outlet.failed.items():
            logger.info("delivery failed", extra={"error": describe(error), "offset": head.offset})
        if (culprit := self._isolation.culprit(heads, outlet)) is not None:
            self._exchange(culprit, outlet.refused_job(culprit), describe(outlet.failed[culprit]))
        if outlet.failed:  # an idempotent producer that lost a record refuses all that follow
            self.close()

    def _contiguous(self, heads: Sequence[Head]) -> dict[int, int]:
        """Per partition the offset behind its last head that is out with all heads before it."""
        offsets: dict[int, int] = {}
        stopped: set[int] = set()
        for head in heads:
            if head not in self._produced or not self._owns(head):
                stopped.add(head.partition)
            elif head.partition not in stopped:
                offsets[head.partition] = head.offset + 1
        return offsets
