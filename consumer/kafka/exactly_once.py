"""How finished heads leave exactly once: outcomes and the offsets they cover in one Kafka transaction."""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from consumer.custody import NOTHING, Delivered, Owned, Position
from consumer.errors import Fatal, Fenced, SettingsError, Unavailable, Unreachable
from consumer.kafka.bounded import Overrun, call_within
from consumer.kafka.client import (
    CALL_TIMEOUT,
    MISSING_ACL,
    REFUSED_PAUSE,
    TRANSACTION_TIMEOUT,
    describe,
    make,
    missing_right,
    producer_properties,
    transactional_id,
)
from consumer.kafka.doubt import Doubt
from consumer.kafka.generation import generation_of
from consumer.kafka.outlet import Head, Isolation, Outlet, let_go
from consumer.kafka.source import Source
from consumer.kafka.topics import Topics
from consumer.kafka.verdict import FENCES, Verdict, judge
from consumer.settings import Settings

logger = logging.getLogger(__name__)

FENCE_MEMORY = 60.0
STATISTICS_WITHIN = 2.0  # they come twenty times a second
MOST_REPLACEMENTS = 20  # in a row, without one commit between them
FREED_WITHIN = 300.0  # that long a broker may refuse our transactional id because of a transaction that it is to end
LONGEST_CALL = 10.0  # repeats included; librdkafka may lose the answer of a call for good when a coordinator stalls


class OutOfTime(Exception):
    """The delivery was given a bound and passed it; the transaction is left to be aborted."""


class NotOurs(Exception):
    """The heads are not ours any more, or we are not a member; the transaction is free to be aborted."""


class ExactlyOnce:
    """Delivers in transactions. All calls come from the runner's thread, each blocks for two seconds at the most;
    between repeats `pump` keeps the group membership. `owns` tells whether a partition is still ours."""

    def __init__(
        self,
        settings: Settings,
        topics: Topics,
        source: Source,
        *,
        slot: str,
        owns: Callable[[Owned], bool],
        pump: Callable[[str], None],
        exchange: Callable[[Head, int, str], None],
    ) -> None:
        self._topics = topics
        self._source = source
        self._owns = owns
        self._pump = pump
        self._exchange = exchange
        self._patience: float | None = None
        self.transactional_id = transactional_id(settings, slot)
        self._properties: dict[str, Any] = {
            "transaction.timeout.ms": round(TRANSACTION_TIMEOUT * 1000),
            "batch.size": topics.max_batch_bytes,
            "statistics.interval.ms": 50,  # the next transaction waits for them; 1 % of a core
        }
        self._properties |= producer_properties(settings) | {"transactional.id": self.transactional_id}
        self._transaction_timeout = int(self._properties["transaction.timeout.ms"]) / 1000
        self._producer: Producer | None = None
        self._doubt = Doubt()
        self._stale: str | None = None  # why this producer must not begin another transaction
        self._unsettled: set[int] = set()  # partitions whose last delivery may or may not have been committed
        self._begun_at = 0.0
        self._fenced_at = float("-inf")
        self._replacements = 0
        self._held_since: float | None = None  # the broker answers, and does not let go of our transactional id
        self._not_before = 0.0
        self._isolation = Isolation()
        self._left_behind: list[tuple[Future[object], Producer]] = []  # each with the call that does not come back

    # --- life -----------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """One try to register the transactional id, which ends what a former owner of it left open.

        Raises SettingsError for what a person must mend, Unavailable for what may pass.
        """
        if self._producer is None:
            self._producer = self._new_producer()
        try:
            self._producer.init_transactions(CALL_TIMEOUT)
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if cause.code() in MISSING_ACL:
                fact = missing_right(cause, transactional_id=self.transactional_id)
                raise SettingsError(f"kafka: {fact}") from error
            if cause.code() == KafkaError.INVALID_TRANSACTION_TIMEOUT:
                raise SettingsError(f"kafka.extra.transaction.timeout.ms: {describe(cause)}") from error
            if judge(cause, open_for=0, transaction_timeout=1) is not Verdict.REPEAT:
                self._producer = None
            raise Unavailable("broker", f"transactional id {self.transactional_id}: {describe(cause)}") from error
        self._note_start()

    def tend(self) -> None:
        """Serve the callbacks of all producers; call it between deliveries, however long nothing is delivered. Else
        their statistics pile up: 0.3 MB a second."""
        self._left_behind = [(answer, producer) for answer, producer in self._left_behind if not answer.done()]
        for producer in (self._producer, *(producer for _, producer in self._left_behind)):
            if producer is not None:
                with suppress(KafkaException):  # a fatal one, over and over: the next delivery meets it too
                    producer.poll(0)

    def close(self) -> None:
        """Nothing is open any more, or what is open times out at the broker."""
        self._drop_producer()

    def _new_producer(self) -> Producer:
        self._doubt = Doubt()
        hooks = {"error_cb": self._doubt.on_error, "stats_cb": self._doubt.on_statistics}
        return make(Producer, self._properties | hooks)

    def _drop_producer(self) -> None:
        if self._producer is not None:
            let_go(self._producer)
            self._producer = None

    @property
    def _live(self) -> Producer:
        if self._producer is None:
            raise RuntimeError("the delivery is not open")
        return self._producer

    # --- delivering -----------------------------------------------------------------------------------------------

    def deliver(
        self, heads: Sequence[Head], *, notes: Sequence[Position] = (), within: float | None = None
    ) -> Delivered:
        """One try. Answers per partition the offset below which everything is committed; what is missing stays in
        the ledger for the next try. The positions of `notes` are committed again for what stands beside them, together
        with all of the heads or not at all. `within` bounds the whole of it, and then the membership is not pumped."""
        self._patience = None if within is None else time.monotonic() + within
        if time.monotonic() < self._not_before:
            return NOTHING
        try:
            if self._is_doubtful():
                # Asking what was committed is no work for a rebalance callback, and the next owner will ask too.
                return Delivered(self._renew()) if within is None else NOTHING
            selected = self._isolation.select(heads)
            return self._transact(selected, notes if len(selected) == len(heads) else ())
        except OutOfTime:
            self._stale = "a delivery ran out of time"
            return NOTHING

    def _is_doubtful(self) -> bool:
        try:
            self._hear()
        except KafkaException as error:  # a fatal one, over and over: it may be known already
            if self._stale is None:
                self._give_up(error.args[0])
        self._stale = self._stale or self._doubt.reason
        return self._stale is not None or bool(self._unsettled)

    def _hear(self) -> None:
        """Serve the producer's callbacks until its statistics are younger than the last end of a transaction."""
        until = time.monotonic() + STATISTICS_WITHIN
        self._live.poll(0)
        while not (self._doubt.is_up_to_date or self._doubt.reason or self._stale):
            if time.monotonic() > until:
                self._doubt.mark("no statistics")
            self._live.poll(0.01)

    def _transact(self, heads: Sequence[Head], notes: Sequence[Position]) -> Delivered:
        offsets: dict[int, int] = {note.partition: note.offset for note in notes}
        offsets |= {head.partition: head.offset + 1 for head in heads}
        covered: list[Owned] = [*heads, *notes]
        outlet = Outlet(self._topics)
        self._begun_at = time.monotonic()
        self._unsettled = set(offsets)
        try:
            self._live.begin_transaction()
            outlet.send(self._live, heads)
            self._send_offsets(offsets, covered)
            self._commit(covered)
        except NotOurs:
            settle = self._abort
        except Overrun as overrun:
            settle = partial(self._leave_behind, overrun)
        except KafkaException as error:
            settle = partial(self._settle, error.args[0], heads, outlet)
        else:
            self._unsettled.clear()
            self._replacements = 0
            if heads:
                self._isolation.succeeded()
            return Delivered(offsets, tuple(notes))
        settle()
        return NOTHING

    def _send_offsets(self, offsets: dict[int, int], covered: Sequence[Owned]) -> None:
        positions = self._source.noted(offsets)

        def send(timeout: float) -> None:
            metadata = self._source.group_metadata()
            if metadata is None or generation_of(bytes(metadata)) < 0:
                raise NotOurs  # no member just now, and the broker would not fence this
            # It waits without an end for a group coordinator that is lost (librdkafka#5456, #5511).
            call = partial(self._live.send_offsets_to_transaction, positions, metadata, timeout)
            call_within(timeout, call, name="send-offsets")

        self._repeat(send, covered)

    def _commit(self, covered: Sequence[Owned]) -> None:
        if not all(map(self._owns, covered)):
            raise NotOurs
        started_at = time.monotonic()
        self._repeat(self._live.commit_transaction)
        self._note_end()
        self._doubt.on_commit(time.monotonic() - started_at)

    def _note_start(self) -> None:
        self._live.poll(0)
        self._doubt.on_start()

    def _note_end(self) -> None:
        self._live.poll(0)
        self._doubt.on_end()

    def _repeat(self, call: Callable[[float], object], covered: Sequence[Owned] = ()) -> None:
        """A bounded call, again and again while that is what its error asks for. With `covered`, only while that is
        ours: the call is then still free to be given up. Raises its last error after `LONGEST_CALL`: a new producer
        ends the transaction either way, and then the broker is asked how."""
        until = time.monotonic() + LONGEST_CALL
        while True:
            try:
                call(self._bound())
                return
            except KafkaException as error:
                cause: KafkaError = error.args[0]
                if self._judge(cause) is not Verdict.REPEAT or time.monotonic() > until:
                    raise
            self._doubt.mark(f"a call was repeated after {cause.name()}")
            if self._patience is None:
                self._pump(describe(cause))
            if not all(map(self._owns, covered)):
                raise NotOurs

    def _bound(self) -> float:
        if self._patience is None:
            return CALL_TIMEOUT
        left = self._patience - time.monotonic()
        if left <= 0:
            raise OutOfTime
        return min(CALL_TIMEOUT, left)

    def _judge(self, error: KafkaError) -> Verdict:
        open_for = time.monotonic() - self._begun_at
        return judge(error, open_for=open_for, transaction_timeout=self._transaction_timeout)

    # --- when it fails --------------------------------------------------------------------------------------------
    #
    # Ask the client for nothing while an error is handled: what it raises then keeps that error for good, with its
    # frames, so with the producer (confluent-kafka 2.16.1: KafkaError is given a context and never lets go of it).

    def _leave_behind(self, overrun: Overrun) -> None:
        self._stale = str(overrun)
        self._left_behind.append((overrun.answer, self._live))

    def _settle(self, error: KafkaError, heads: Sequence[Head], outlet: Outlet) -> None:
        logger.info("delivery failed", extra={"error": describe(error), "records": len(heads)})
        match self._judge(error):
            case Verdict.ABORT:
                self._abort()
                self._note_refusals(heads, outlet)
            case _:
                self._give_up(error)
        self._rest_if_refused(error)

    def _rest_if_refused(self, error: KafkaError) -> None:
        """A right was withdrawn while we ran: readiness tells it, and the log is not flooded by try after try."""
        if error.code() not in MISSING_ACL:
            return
        self._not_before = time.monotonic() + REFUSED_PAUSE
        if self._patience is None:
            self._pump(missing_right(error, transactional_id=self.transactional_id))

    def _give_up(self, error: KafkaError) -> None:
        """This producer is of no more use. Raises Fenced if that is another process's doing."""
        if error.code() in FENCES:
            now = time.monotonic()
            if self._judge(error) is Verdict.FENCED or now - self._fenced_at < FENCE_MEMORY:
                raise Fenced(
                    f"fenced: another process uses transactional id {self.transactional_id} "
                    f"(delivery.slot must be unique): {describe(error)}"
                )
            self._fenced_at = now
        self._stale = describe(error)

    def _abort(self) -> None:
        """End the open transaction; its outcomes are invisible for ever. In doubt the producer goes too."""
        try:
            self._repeat(self._live.abort_transaction)
            self._note_end()
        except KafkaException as error:
            self._give_up(error.args[0])
        else:
            self._unsettled.clear()

    def _note_refusals(self, heads: Sequence[Head], outlet: Outlet) -> None:
        """After a refused record the idempotent producer is out of sequence, so it goes."""
        if outlet.refused:
            self._stale = "a record was refused"
        if (head := self._isolation.culprit(heads, outlet)) is not None:
            self._exchange(head, outlet.refused_job(head), describe(outlet.failed[head]))

    def _renew(self) -> dict[int, int]:
        """A new producer with the same id, which fences the old one, then ask what had been committed."""
        if self._stale is not None:
            self._replace()
        if self._stale is not None:
            return {}  # until the old producer is known to be fenced its transaction may still be committed
        self._unsettled &= self._source.owned
        answers = self._source.committed(sorted(self._unsettled))
        self._unsettled -= answers.keys()
        return {partition: offset for partition, offset in answers.items() if offset is not None}

    def _replace(self) -> None:
        if self._replacements >= MOST_REPLACEMENTS:
            raise Fatal(f"{self._replacements} producers in a row could not deliver: {self._stale}")
        # The first one does not wait: doubt is common and mostly unfounded.
        if self._replacements:
            self._not_before = time.monotonic() + min(5.0, 0.1 * 2**self._replacements)
        self._replacements += 1
        logger.info("producer replaced", extra={"reason": self._stale})
        self._drop_producer()
        self._producer = self._new_producer()
        self._begun_at = time.monotonic()
        try:
            self._repeat(self._live.init_transactions)
        except KafkaException as error:
            cause: KafkaError = error.args[0]
        else:
            self._stale = self._held_since = None
            self._note_start()
            return
        self._leave_if_held(cause)
        if self._judge(cause) is Verdict.REPEAT or cause.code() in MISSING_ACL:
            self._replacements -= 1  # nobody answered or nobody may, which says nothing of this producer
        self._give_up(cause)
        self._rest_if_refused(cause)

    def _leave_if_held(self, error: KafkaError) -> None:
        """A transaction that the broker never ends (seen in a cluster with a node whose disk was full) makes our
        transactional id useless for good: others of the group, or a process with another id, go on."""
        if error.code() != KafkaError.CONCURRENT_TRANSACTIONS:
            self._held_since = None
            return
        now = time.monotonic()
        self._held_since = self._held_since or now
        if now - self._held_since > FREED_WITHIN:
            raise Unreachable(
                f"the broker has not ended the last transaction of {self.transactional_id} for {FREED_WITHIN:g} s: "
                f"{describe(error)}"
            )
