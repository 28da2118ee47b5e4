"""How do jobs get published, one after the other, so that each is acknowledged or kept to be sent again?"""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Self

from consumer.kafka.publisher import Acknowledged, Publisher, Report
from consumer.messages import Headers, ImageReference
from consumer.publishing.drafts import Draft, KeyChoice
from consumer.publishing.following import Awaited, Follower
from consumer.publishing.stopping import Stopping
from consumer.settings import Settings

HEADERS: Headers = (("content-type", b"application/json"),)
FAREWELL = 5.0
"""Seconds that Ctrl-C waits for acknowledgements."""

_LONGEST_LOOK = 0.1
_LOOK_EVERY = 200
_CATCH_UP = 0.1
_NAMED = 3


class Pacer:
    """Evenly spaced turns; one that came late is made up for, but for no more than a tenth of a second."""

    def __init__(self, rate: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1 / rate
        self._clock = clock
        self._due = clock() - self._interval

    def take(self) -> float:
        """Take the next turn; returns the seconds until it comes, 0 or less when it is due."""
        now = self._clock()
        self._due = max(self._due + self._interval, now - _CATCH_UP)
        return self._due - now


class Unsent:
    """Jobs that were not acknowledged, one a line in a file that is made with the first; `publish -` takes it.

    When the file can be written no more, `fault` says why: it then holds the first `kept` of them alone.
    """

    def __init__(self) -> None:
        self.count = 0
        self.kept = 0
        self.first: list[str] = []
        self.fault: str | None = None
        self.path: Path | None = None
        self._file: IO[bytes] | None = None
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def add(self, draft: Draft, reason: str) -> None:
        self.count += 1
        if len(self.first) < _NAMED:
            self.first.append(f"{draft.image.uri}: {reason}")
        if self.fault is None:
            try:
                self._keep(draft.value + b"\n")
            except OSError as error:
                self.fault = error.strerror or str(error)
                self._drop_what_is_cut()

    def _keep(self, line: bytes) -> None:
        if self._file is None:
            self._file = tempfile.NamedTemporaryFile(prefix="unsent-jobs-", suffix=".jsonl", delete=False)  # noqa: SIM115
            self.path = Path(self._file.name)
        self._file.write(line)
        self._file.flush()  # a full disk shows now, not with a later line
        self.kept += 1
        self._size += len(line)

    def _close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # `fault` says so already
                self._file.close()

    def _drop_what_is_cut(self) -> None:
        self._close()  # what is still buffered goes before, not after
        if self.path is None:
            return
        with contextlib.suppress(OSError):
            os.truncate(self.path, self._size)
            if not self.kept:
                self.path.unlink()
                self.path = None


@contextlib.contextmanager
def open_publication(
    settings: Settings,
    *,
    key: KeyChoice = "none",
    rate: float | None = None,
    follows: bool = False,
    stopping: Stopping | None = None,
) -> Iterator["Publication"]:
    """A publication with its connections. With `follows` it can `wait` for the outcomes of what it sends.

    Raises SettingsError or Unavailable, see `Publisher` and `Reader`.
    """
    stopping = stopping or Stopping()
    with (
        Publisher(settings, stopping=stopping.event) as publisher,
        # Before anything is sent: the outcomes lie behind where it begins.
        Follower(settings) if follows else contextlib.nullcontext() as follower,
        Unsent() as unsent,
    ):
        pacer = Pacer(rate) if rate else None
        yield Publication(publisher, unsent, key=key, pacer=pacer, follower=follower, stopping=stopping)


class Publication:
    """Sends drafts in their order; its counts are looked at while it runs.

    A job that is refused for itself costs no other. When nothing can be sent any more, the rest is kept as unsent. Once
    `stopping` is set no more drafts are taken.
    """

    def __init__(
        self,
        publisher: Publisher,
        unsent: Unsent,
        *,
        key: KeyChoice = "none",
        pacer: Pacer | None = None,
        follower: Follower | None = None,
        stopping: Stopping | None = None,
    ) -> None:
        self.taken = 0
        self.acknowledged = 0
        self.seconds = 0.0
        self.last: ImageReference | None = None
        self.unsent = unsent
        self._publisher = publisher
        self._key = key
        self._pacer = pacer
        self._follower = follower
        self._stopping = stopping or Stopping()
        self._outage: str | None = None

    def run(self, drafts: Iterable[Draft], *, tell: Callable[[], None] = lambda: None) -> None:
        """Returns, or lets the error of `drafts` through, when every job taken is acknowledged or unsent; `tell` is
        called as it goes on."""
        begun = time.monotonic()
        try:
            for draft in self._stopping.draw(drafts):
                self._wait_for_turn()
                if self._stopping.is_set():
                    break
                self._take(draft)
                tell()
        finally:
            self._finish()
            self.seconds = time.monotonic() - begun
        tell()

    def wait(self, patience: float, *, tell: Callable[[], None] = lambda: None) -> Awaited | None:
        """Until all that was acknowledged has an outcome, or no outcome at all has come for `patience` seconds; what
        came. None where outcomes are not followed."""
        if self._follower is None:
            return None
        self._follower.wait(patience=patience, stopping=self._stopping.event, tell=tell)
        return self._follower.awaited

    @property
    def settled(self) -> int:
        """Jobs that have an outcome."""
        return 0 if self._follower is None else self.acknowledged - self._follower.awaited.missing

    def _take(self, draft: Draft) -> None:
        self.taken += 1
        self.last = draft.image
        if self._outage is not None:
            self._publisher.flush()  # what was taken before is kept before
            self.unsent.add(draft, self._outage)
        else:
            self._publisher.send(draft.value, draft.key(self._key), HEADERS, on_done=partial(self._note, draft))
        if self.taken % _LOOK_EVERY == 0:
            self._look()

    def _wait_for_turn(self) -> None:
        if self._pacer is None or self._outage is not None:
            return
        until = time.monotonic() + self._pacer.take()
        while (left := until - time.monotonic()) > 0 and not self._stopping.is_set():
            self._publisher.poll(min(left, _LONGEST_LOOK))
            self._look()

    def _look(self) -> None:
        if self._follower is not None:
            self._follower.poll()

    def _note(self, draft: Draft, report: Report) -> None:
        if isinstance(report, Acknowledged):
            self.acknowledged += 1
            if self._follower is not None:
                self._follower.awaited.expect(report.partition, report.offset)
            return
        self.unsent.add(draft, report.reason)
        if not report.is_at_fault:
            self._outage = report.reason

    def _finish(self) -> None:
        self._publisher.flush()
        end = time.monotonic() + FAREWELL
        while self._stopping.is_set() and not self._stopping.at_once.is_set() and time.monotonic() < end:
            if not self._publisher.flush(_LONGEST_LOOK):
                break
        self._publisher.give_up()
