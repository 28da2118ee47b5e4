"""Does the store answer? Which tells one image that cannot be fetched from an outage.

Evidence is an image of the bucket that was fetched, or a probe: a GET of a key that never exists.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from consumer.errors import Unavailable

INTERVAL = 1.0
_MAX_BUCKETS = 1024  # with `allowed_buckets: ["*"]` jobs name as many buckets as they like
_NAMED = 3  # buckets in a reason


@dataclass(slots=True)
class _Bucket:
    answered_at: float | None = None
    probed_at: float | None = None
    is_probing: bool = False
    failure: str | None = None  # the code of the latest failure, None since the bucket answered


class Availability:
    """What is known of each bucket. Safe to use from many threads; those that ask together share one probe.

    `probe(bucket)` raises `Unavailable` when the store does not answer. It may block, and so may `answers_since` and
    `refresh`: the thread that polls Kafka calls neither.
    """

    def __init__(
        self, probe: Callable[[str], None], *, interval: float = INTERVAL, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._probe = probe
        self._interval = interval
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def succeeded(self, bucket: str) -> None:
        """An image of this bucket was fetched, or `ImageStore.check` found the bucket at start."""
        with self._lock:
            state = self._state(bucket)
            state.answered_at, state.failure = self._clock(), None

    def failed(self, bucket: str, code: str) -> None:
        """An image of this bucket was `Unavailable`: red, unless the bucket has just answered."""
        with self._lock:
            state = self._state(bucket)
            if state.answered_at is None or self._clock() - state.answered_at >= self._interval:
                state.failure = code

    def answers_since(self, bucket: str, moment: float) -> bool:
        """Whether the store answered for this bucket after `moment` (of the same clock), asking it if need be.

        A bucket that never answered in this process and does not exist, says the store, counts as answering when
        another bucket does: a job may name any bucket, and must not wait for ever for one that nobody will create.
        """
        if self._answers(bucket, moment):
            return True
        other = self._latest_to_answer() if self._is_absent(bucket) else None
        return other is not None and self._answers(other, moment)

    def reason(self) -> str | None:
        """Why the store counts as unreachable, such as `parts: SlowDown`; None while it is reachable."""
        red = [f"{bucket}: {code}" for bucket, code in sorted(self._red().items())]
        more = f" and {len(red) - _NAMED} more" if len(red) > _NAMED else ""
        return ", ".join(red[:_NAMED]) + more or None

    def refresh(self) -> None:
        """Ask the red buckets again, since no job may do so; to be called before `reason`, every second or so."""
        for bucket in self._red():
            if not self._answers(bucket, self._clock()):
                return  # each of the others would cost one more time-out

    def _answers(self, bucket: str, moment: float) -> bool:
        with self._lock:
            state = self._state(bucket)
            if state.answered_at is not None and state.answered_at > moment:
                return True
            if state.is_probing or not self._is_due(state):
                return False
            state.is_probing, state.probed_at = True, self._clock()
        try:
            self._probe(bucket)
        except Unavailable as error:
            with self._lock:
                state.failure = error.code
            return False
        else:
            self.succeeded(bucket)
            return True
        finally:
            state.is_probing = False

    def _is_due(self, state: _Bucket) -> bool:
        return state.probed_at is None or self._clock() - state.probed_at >= self._interval

    def _red(self) -> dict[str, str]:
        has_proof = self._latest_to_answer() is not None
        with self._lock:
            failures = {bucket: state.failure for bucket, state in self._buckets.items() if state.failure is not None}
        return {bucket: code for bucket, code in failures.items() if not (has_proof and self._is_absent(bucket))}

    def _is_absent(self, bucket: str) -> bool:
        with self._lock:
            state = self._state(bucket)
            return state.answered_at is None and state.failure == "NoSuchBucket"

    def _latest_to_answer(self) -> str | None:
        with self._lock:
            answers = {bucket: at for bucket, state in self._buckets.items() if (at := state.answered_at) is not None}
        return max(answers, key=answers.__getitem__, default=None)

    def _state(self, bucket: str) -> _Bucket:
        state = self._buckets.setdefault(bucket, _Bucket())
        self._buckets.move_to_end(bucket)
        if len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)
        return state
