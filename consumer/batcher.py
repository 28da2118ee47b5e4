"""How many single requests become few batches, while a bad one never fails its neighbours.

A caller takes a seat in an open batch of its bucket, writes into the seat's slot, and waits for its answer. One
thread starts batches: whenever a place of the engine is free it takes the batch with the oldest request, up to the
ceiling, and never waits for a whole wave. A failed batch runs again in halves until the one at fault is alone.
Knows nothing of images: a bucket is any hashable, a storage is anything that can be indexed and sliced.
"""

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from consumer.errors import Abandoned, EngineBroken, OutOfDeviceMemory

B = TypeVar("B", bound=Hashable)
A = TypeVar("A")

RESUMED = 1.0  # seconds that an answer gets after its deadline: the process, and not the engine, may have been stopped
CLOSING_TIME = 3.0  # seconds that running batches get before they are left behind with a hanging engine


class Seat(Generic[B, A]):
    """One request's place in a batch. Write into `slot` inside the `with`; ask for the `answer` after it."""

    def __init__(self, batcher: "Batcher[B, A]", batch: "_Batch[B, A]", index: int) -> None:
        self._batcher = batcher
        self._batch = batch
        self._answered = threading.Event()
        self._answer: A | None = None
        self._error: BaseException | None = None
        self.index = index
        self.is_void = False

    @property
    def slot(self) -> Any:
        """The storage of this request alone; it holds what a former request left there."""
        return self._batch.storage[self.index]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._batcher._written(self._batch, self, is_void=error is not None)

    def answer(self, deadline: float) -> A:
        """Wait for the answer. Raises what the engine raised for this request when it ran alone.

        Raises EngineBroken if the engine holds the batch for longer than `deadline` seconds, Abandoned if the batcher
        was closed before the engine took it.
        """
        while not self._answered.wait(deadline):
            held = self._batcher.held(self._batch)
            if held > deadline and not self._answered.wait(min(deadline, RESUMED)):
                raise EngineBroken(f"the engine has not answered a batch for {held:.0f} s (limits.job_deadline)")
        if self._error is not None:
            raise self._error
        return self._answer  # type: ignore[return-value]  # it was set together with _answered

    def move(self, batch: "_Batch[B, A]") -> None:
        self._batch = batch

    def resolve(self, answer: A | None, error: BaseException | None) -> None:
        self._answer, self._error = answer, error
        self._answered.set()


@dataclass(eq=False)
class _Batch(Generic[B, A]):
    """Neighbouring slots of one slab: all of it while it fills, a half of it when it is tried again."""

    bucket: B
    storage: Any
    slab: "_Slab"
    opened_at: float
    seats: list[Seat[B, A]] = field(default_factory=list)
    writing: int = 0
    is_sealed: bool = False
    started_at: float | None = None


@dataclass(eq=False)
class _Slab:
    index: int
    users: int = 0


class Batcher(Generic[B, A]):
    """Use it as a context manager: its one thread, named `batches`, lives inside the `with`. Leaving waits for the
    batches that run, and abandons those that wait.

    `start(storage[first:last])` begins a batch and returns a future of one answer per slot; `places` of them may run
    at once. `storage(slab, bucket)` gives slab number `slab` as `max_batch` slots of that bucket.
    """

    def __init__(
        self,
        start: Callable[[Any], "Future[Sequence[A]] | Future[Any]"],
        storage: Callable[[int, B], Any],
        *,
        places: int,
        slabs: int,
        max_batch: int,
        max_wait: float,
        on_start: Callable[[B, int], None],
    ) -> None:
        self._start = start
        self._storage = storage
        self._max_wait = max_wait
        self._on_start = on_start
        self._places = self._free_places = places
        self._free_slabs = [_Slab(index) for index in range(slabs)]
        self._ceiling = max_batch
        self._batches: list[_Batch[B, A]] = []  # in the order they are to start
        self._idle_since = time.monotonic()
        self._is_closed = False
        lock = threading.Lock()
        self._seats_changed = threading.Condition(lock)
        self._work_changed = threading.Condition(lock)
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._work_changed:
            self._is_closed = True
            for batch in self._batches:
                self._resolve(batch, [], Abandoned("the batcher is closed"))
            self._work_changed.notify_all()
            self._seats_changed.notify_all()
            is_idle = self._work_changed.wait_for(lambda: not self.is_running, CLOSING_TIME)
        if is_idle:
            self._thread.join()

    @property
    def ceiling(self) -> int:
        """The largest batch that is started: `max_batch` until the device ran out of memory, then less."""
        return self._ceiling

    @property
    def is_running(self) -> bool:
        """Whether the engine has a batch."""
        return self._free_places < self._places

    @property
    def idle_for(self) -> float:
        """Seconds since the engine's last answer; 0 while it has a batch or one waits for it."""
        return 0.0 if self.is_running or self._batches else time.monotonic() - self._idle_since

    def held(self, batch: "_Batch[B, A]") -> float:
        """Seconds since the engine took the batch; 0 while it waits for a place."""
        started_at = batch.started_at
        return 0.0 if started_at is None else time.monotonic() - started_at

    # --- callers' side ------------------------------------------------------------------------------------------

    def seat(self, bucket: B) -> Seat[B, A]:
        """Reserve a slot in an open batch of the bucket; blocks while there is none and no slab is free."""
        with self._seats_changed:
            batch = self._open_batch(bucket)
            while batch is None:
                self._seats_changed.wait()
                batch = self._open_batch(bucket)
            seat = Seat(self, batch, len(batch.seats))
            batch.seats.append(seat)
            batch.writing += 1
            return seat

    def _open_batch(self, bucket: B) -> "_Batch[B, A] | None":
        if self._is_closed:
            raise Abandoned("the batcher is closed")
        for batch in self._batches:
            if batch.bucket == bucket and not batch.is_sealed and len(batch.seats) < self._ceiling:
                return batch
        if not self._free_slabs:
            return None
        slab = self._free_slabs[-1]
        batch = _Batch(bucket, self._storage(slab.index, bucket), slab, opened_at=time.monotonic())
        self._free_slabs.pop()
        slab.users = 1
        self._batches.append(batch)
        return batch

    def _written(self, batch: "_Batch[B, A]", seat: Seat[B, A], *, is_void: bool) -> None:
        with self._work_changed:
            seat.is_void = is_void
            batch.writing -= 1
            self._work_changed.notify()

    # --- the thread that starts batches ---------------------------------------------------------------------------

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            self._begin(batch)

    def _next_batch(self) -> "_Batch[B, A] | None":
        with self._work_changed:
            while not self._is_closed:
                batch, patience = self._due()
                if batch is None:
                    self._work_changed.wait(patience)
                    continue
                batch.is_sealed = True
                if batch.writing:  # only the letterboxes in progress are waited for
                    self._work_changed.wait()
                    continue
                self._batches.remove(batch)
                if all(seat.is_void for seat in batch.seats):
                    self._release(batch)
                    continue
                if len(batch.seats) > self._ceiling:  # it was filled before the device ran out of memory
                    self._halve(batch)
                    continue
                self._free_places -= 1
                return batch
            return None

    def _due(self) -> "tuple[_Batch[B, A] | None, float | None]":
        """The first batch that is full, sealed or has waited long enough; else how long to wait for one."""
        if self._free_places == 0:
            return None, None
        now = time.monotonic()
        patience: float | None = None
        for batch in self._batches:
            left = batch.opened_at + self._max_wait - now
            if batch.is_sealed or len(batch.seats) >= self._ceiling or left <= 0:
                return batch, None
            patience = left if patience is None else min(patience, left)
        return None, patience

    def _begin(self, batch: "_Batch[B, A]") -> None:
        first, last = batch.seats[0].index, batch.seats[-1].index + 1
        batch.started_at = time.monotonic()
        try:
            self._on_start(batch.bucket, last - first)
            future = self._start(batch.storage[first:last])
            future.add_done_callback(lambda done: self._done(batch, done))
        except BaseException as error:  # noqa: BLE001  # whatever an engine raises is an answer
            self._finish(batch, [], error)

    def _done(self, batch: "_Batch[B, A]", future: "Future[Any]") -> None:
        try:
            answers = _answers(future, len(batch.seats))
        except BaseException as error:  # noqa: BLE001  # a cancelled future and one of no answers too
            self._finish(batch, [], error)
        else:
            self._finish(batch, answers, None)

    def _finish(self, batch: "_Batch[B, A]", answers: Sequence[A], error: BaseException | None) -> None:
        with self._work_changed:
            self._free_places += 1
            self._idle_since = time.monotonic()
            if error is None or len(batch.seats) == 1 or self._is_closed or isinstance(error, EngineBroken):
                self._resolve(batch, answers, error)
                self._release(batch)
            else:
                if isinstance(error, OutOfDeviceMemory):
                    self._ceiling = min(self._ceiling, len(batch.seats) // 2)
                self._halve(batch)
            self._work_changed.notify()

    def _resolve(self, batch: "_Batch[B, A]", answers: Sequence[A], error: BaseException | None) -> None:
        for index, seat in enumerate(batch.seats):
            seat.resolve(None if error is not None else answers[index], error)

    def _halve(self, batch: "_Batch[B, A]") -> None:
        """Its seats come first, in two batches of the same slab."""
        middle = len(batch.seats) // 2
        for position, seats in enumerate((batch.seats[:middle], batch.seats[middle:])):
            half = _Batch(batch.bucket, batch.storage, batch.slab, batch.opened_at, seats, is_sealed=True)
            for seat in seats:
                seat.move(half)
            batch.slab.users += 1
            self._batches.insert(position, half)
        self._release(batch)

    def _release(self, batch: "_Batch[B, A]") -> None:
        batch.slab.users -= 1
        if batch.slab.users == 0:
            self._free_slabs.append(batch.slab)
            self._seats_changed.notify_all()


def _answers(future: "Future[Any]", count: int) -> list[Any]:
    answers = list(future.result())
    if len(answers) != count:
        raise RuntimeError(f"the engine gave {len(answers)} answers for {count} images")
    return answers
