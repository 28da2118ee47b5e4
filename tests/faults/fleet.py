"""Which consumers run in a cell, how much memory do they take, and did any end that nobody ended?"""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.faults.world import Fleet
from tests.rigs.deadline import wait_until
from tests.rigs.process import ConsumerProcess

LOOK = 0.5
READY_WITHIN = 120.0  # seconds: on a machine with less to do it takes three


class Replicas:
    """The fleet of tests/faults/world.py. Replicas are started by the main thread: they end with the one that did it.

    A watch in a thread of its own samples memory, inside the `with`.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        environment: Mapping[str, str],
        note: Callable[[str], None],
        *,
        has_slots: bool = False,
    ) -> None:
        """With `has_slots` each has a `delivery.slot` of its own, and a replacement takes over that of a gone one."""
        self.unexpected: list[str] = []
        self.peak_bytes = 0
        self.started = 0
        self._folder = folder
        self._settings = settings
        self._environment = environment
        self._note = note
        self._has_slots = has_slots
        self._replicas: dict[ConsumerProcess, int] = {}
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> "Replicas":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        for replica in self._replicas:
            replica.kill()

    @property
    def all(self) -> list[ConsumerProcess]:
        """Those that are not forgotten, oldest first."""
        return list(self._replicas)

    @property
    def running(self) -> list[ConsumerProcess]:
        return [replica for replica in self._replicas if replica.is_running and not _is_stopped(replica)]

    def add(self) -> ConsumerProcess:
        self.started += 1
        slot = min(set(range(len(self._replicas) + 1)) - set(self._replicas.values()))
        settings = dict(self._settings)
        if self._has_slots:
            settings["delivery"] = {**settings.get("delivery", {}), "slot": f"slot-{slot}"}
        name = f"replica-{self.started}"
        replica = ConsumerProcess(self._folder, settings, name=name, environment=self._environment)
        self._replicas[replica.start()] = slot
        self._note(f"{name} started, process {replica.process_id}")
        return replica

    def forget(self, replica: ConsumerProcess) -> None:
        del self._replicas[replica]

    def check(self) -> bool:
        """Note those that ended by themselves, and replace each: the group goes on, the verdict is red."""
        ended = [replica for replica in self._replicas if not replica.is_running]
        for replica in ended:
            self._object(f"{replica.name} ended with {replica.wait(1)}: {last_words(replica)}")
            self.forget(replica)
            self.add()
        return not ended

    def wait_ready(self, *, within: float = READY_WITHIN) -> None:
        for replica in self.all:
            replica.wait_ready(within=within)

    def unready(self, *, within: float) -> list[str]:
        """Those that are not ready after so long, with what they say."""
        found = []
        for replica in self.all:
            try:
                replica.wait_ready(within=within)
            except (TimeoutError, RuntimeError) as error:
                found.append(f"{replica.name} is not ready: {_checks(replica) or str(error).splitlines()[0]}")
        return found

    def drain(self, *, within: float = 40) -> None:
        """Stop all with SIGTERM; each must end with 0."""
        running = self.running
        for replica in running:
            replica.terminate()
        for replica in running:
            try:
                code = replica.wait(within)
            except TimeoutError:
                code = None
                replica.kill()
            if code != 0:
                self._object(f"{replica.name} ended with {code} after SIGTERM: {last_words(replica)}")
            self.forget(replica)

    def _object(self, what: str) -> None:
        self._note(f"UNEXPECTED: {what}")
        self.unexpected.append(what)

    def _watch(self) -> None:
        while not self._is_over.wait(LOOK):
            for replica in list(self._replicas):
                self.peak_bytes = max(self.peak_bytes, _peak(replica))


def see_off(replica: ConsumerProcess, fleet: Fleet, *, within: float = 60) -> None:
    """It was sent SIGTERM, once: it must end with 0."""
    code = replica.wait(within)
    fleet.forget(replica)
    if code != 0:
        raise RuntimeError(f"{replica.name} ended with {code} after SIGTERM: {last_words(replica)}")


def wait_all_ready(fleet: Fleet, over: threading.Event, *, within: float = READY_WITHIN) -> None:
    """Return when all that run are ready, or the cell is over."""
    for replica in list(fleet.running):
        wait_until(lambda r=replica: over.is_set() or _is_ready(r), within=within, what=f"{replica.name} is ready")  # type: ignore[misc]


def is_member(replica: ConsumerProcess) -> bool:
    """Whether it has joined the group, ready or not."""
    checks = _checks(replica)
    return checks is None or not checks.keys() & {"http", "group"}


def last_words(replica: ConsumerProcess) -> str:
    """The last error that it logged, else its last line."""
    errors = [line for line in replica.log_lines if line.get("level") in {"ERROR", "CRITICAL"}]
    text = str(errors[-1].get("message")) if errors else (replica.log.splitlines() or [""])[-1]
    return text[:300]


def _is_ready(replica: ConsumerProcess) -> bool:
    if not replica.is_running:
        raise RuntimeError(f"{replica.name} ended with {replica.wait(1)}: {last_words(replica)}")
    return not _checks(replica)


def _checks(replica: ConsumerProcess) -> dict[str, str] | None:
    """What keeps it from being ready; None when it is."""
    try:
        status, checks = replica.readyz()
    except (OSError, ValueError) as error:
        return {"http": f"{type(error).__name__}: {error}"}
    return None if status == 200 else {name: text for name, text in checks.items() if text != "ok"}


def _is_stopped(replica: ConsumerProcess) -> bool:
    return _proc(replica, "stat").rpartition(")")[2].split()[:1] == ["T"]


def _peak(replica: ConsumerProcess) -> int:
    """The most memory that it ever had resident, in bytes; 0 when it is gone."""
    lines = _proc(replica, "status").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def _proc(replica: ConsumerProcess, name: str) -> str:
    try:
        return Path(f"/proc/{replica.process_id}/{name}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
