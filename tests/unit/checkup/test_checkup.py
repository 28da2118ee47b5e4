"""Does each check of the doctor say the fact and what to do, and does a red one stop only what rests on it?"""

import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from consumer.checkup import checkup
from consumer.checkup import kafka as checkup_kafka
from consumer.checkup import machine as checkup_machine
from consumer.checkup.findings import Finding, ok
from consumer.checkup.machine import check_http, check_memory, check_threads
from consumer.errors import Unavailable
from consumer.health import Health, HealthServer
from consumer.kafka.capabilities import CONSUMER_GROUP_HEARTBEAT, TXN_OFFSET_COMMIT
from consumer.kafka.rights import Trial
from consumer.metrics import Metrics
from consumer.settings import HttpSettings, Settings

MIB = 2**20


def settings(**sections: dict[str, Any]) -> Settings:
    return Settings(**({"images": {"allowed_buckets": ["parts"]}} | sections))


# --- what a check may do ------------------------------------------------------------------------------------------


def test_a_check_that_never_answers_is_red_and_the_next_one_is_made() -> None:
    released = threading.Event()

    def hang() -> Iterator[Finding]:
        released.wait()
        yield ok("x", "never said")

    findings = checkup._bounded("x", "pull the plug", hang, 0.05)
    released.set()
    assert [finding.line for finding in findings] == ["✗ x — no answer within 0.05 s → pull the plug"]


def test_what_is_not_there_is_red_and_what_nobody_expected_is_a_bug() -> None:
    def fail(error: Exception) -> list[Finding]:
        raise error

    away = checkup._bounded("x", "start it", partial(fail, Unavailable("network", "nobody\n  is there")))
    bug = checkup._bounded("x", "start it", partial(fail, ZeroDivisionError("by zero")))
    assert [finding.line for finding in away] == ["✗ x — nobody is there → start it"]
    assert [finding.line for finding in bug] == ["✗ x — ZeroDivisionError: by zero → this is a bug: please report it"]


# --- the machine --------------------------------------------------------------------------------------------------


def machine(root: Path, *, memory: int | None = None, pids: int | None = None) -> Path:
    group = root / "sys/fs/cgroup"
    group.mkdir(parents=True)
    if memory is not None:
        (group / "memory.max").write_text(str(memory))
    if pids is not None:
        (group / "pids.max").write_text(str(pids))
    return root


@pytest.mark.parametrize(
    ("free", "state"), [(16 * 1024, "ok"), (256 + 96 + 8 + 1, "warning"), (256 + 96 + 8 - 1, "red")]
)
def test_memory_that_cannot_hold_the_limits_is_red_and_that_may_not_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, state: str
) -> None:
    monkeypatch.setattr(checkup_machine, "resident_memory", lambda: 100 * MIB)
    monkeypatch.setattr(checkup_machine, "available_cores", lambda _: 4)
    limits = settings(images={"allowed_buckets": ["parts"], "max_pixels": 32 * MIB})
    finding = check_memory(limits, machine(tmp_path, memory=(100 + free) * MIB), slots=8 * MIB)

    assert finding.state == state
    assert finding.fact == (
        f"748 MiB at the most, of {100 + free} MiB: 100 MiB now, 256 MiB fetched (limits.max_in_flight_bytes), "
        "4 x 96 MiB decoded (images.max_pixels), 8 MiB in batches"
    )
    assert (finding.advice == "") == (state == "ok")
    assert "limits.max_in_flight_bytes" in finding.advice or state == "ok"


@pytest.mark.parametrize(("pids", "state"), [(None, "ok"), (320, "ok"), (319, "red")])
def test_more_threads_than_the_container_allows_are_red(tmp_path: Path, pids: int | None, state: str) -> None:
    (finding,) = check_threads(settings(), machine(tmp_path, pids=pids))

    assert finding.state == state
    if state == "red":
        assert "up to 320 threads, but pids.max is 319" in finding.fact
        assert "lower limits.max_in_flight" in finding.advice


@pytest.mark.thorough
def test_a_port_is_free_or_taken_or_that_of_a_running_consumer() -> None:
    metrics = Metrics()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken.settimeout(0.01)
        port = taken.getsockname()[1]
        (finding,) = check_http(settings(http={"port": port}))
    assert finding.state == "red"
    assert f"cannot listen on 127.0.0.1:{port}" in finding.fact
    assert "http.port" in finding.advice

    (free,) = check_http(settings(http={"port": port}))
    assert (free.state, free.fact) == ("ok", f"127.0.0.1:{port} is free")

    with HealthServer(HttpSettings(port=port), Health(metrics, ("engine",)), metrics):
        (ours,) = check_http(settings(http={"port": port}))
    assert (ours.state, ours.fact) == ("warning", f"127.0.0.1:{port} is a running consumer's")


def test_an_address_of_somebody_else_is_red() -> None:
    (finding,) = check_http(settings(http={"host": "192.0.2.1"}))
    assert finding.state == "red"
    assert "192.0.2.1:8080" in finding.fact


# --- brokers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("commit", "heartbeat", "mode", "protocol", "state", "says"),
    [
        (5, 1, "exactly_once", "consumer", "ok", "Kafka 4.0 or newer"),
        (3, 0, "exactly_once", "classic", "ok", "Kafka 2.5 or newer"),
        (3, 0, "exactly_once", "consumer", "red", "older than Kafka 4.0"),
        (2, -1, "exactly_once", "classic", "red", "older than Kafka 2.5"),
        (2, -1, "at_least_once", "classic", "ok", "group protocol classic alone"),
    ],
)
def test_a_broker_that_is_too_old_for_the_settings_is_red(
    monkeypatch: pytest.MonkeyPatch, commit: int, heartbeat: int, mode: str, protocol: str, state: str, says: str
) -> None:
    versions = {TXN_OFFSET_COMMIT: commit, CONSUMER_GROUP_HEARTBEAT: heartbeat}
    monkeypatch.setattr(checkup_kafka, "request_versions", lambda *_, **__: versions)
    (finding,) = checkup_kafka.check_versions(settings(kafka={"group_protocol": protocol}, delivery={"mode": mode}))

    assert finding.state == state
    assert says in finding.fact
    assert ("upgrade the brokers" in finding.advice) == (state == "red")


class Ids:
    """A broker that answers a trial of each id as it is told, and remembers which ones were tried."""

    def __init__(self, **answers: Trial) -> None:
        self._answers = answers
        self.tried: list[str] = []

    def __call__(self, settings: Settings, transactional_id: str, *, timeout: float) -> Trial:
        self.tried.append(transactional_id)
        return self._answers["other" if transactional_id.endswith("-doctor") else "slot"]


@pytest.mark.parametrize(
    ("slot", "answers", "state", "tries"),
    [
        ("auto", {"other": "usable"}, "ok", 1),
        ("auto", {"other": "taken"}, "ok", 1),
        ("auto", {"other": "refused"}, "red", 1),
        ("pod-0", {"other": "usable", "slot": "usable"}, "ok", 2),
        ("pod-0", {"other": "usable", "slot": "refused"}, "red", 2),
        ("pod-0", {"other": "refused"}, "warning", 1),
        ("pod-0", {"other": "taken"}, "warning", 1),
    ],
)
def test_a_fixed_slot_is_tried_only_where_that_cannot_fence_its_owner(
    slot: str, answers: dict[str, Trial], state: str, tries: int
) -> None:
    ids = Ids(**answers)
    (finding,) = checkup_kafka.check_transactional_id(settings(delivery={"slot": slot}), ids)

    assert (finding.state, len(ids.tried)) == (state, tries)
    assert ("Write on" in finding.advice) == (state != "ok")
    if slot == "pod-0":
        assert finding.name == "rights: transactional id inspection.inspection.pod-0"


def test_at_least_once_needs_no_transactional_id() -> None:
    ids = Ids()
    (finding,) = checkup_kafka.check_transactional_id(settings(delivery={"mode": "at_least_once"}), ids)
    assert (finding.state, ids.tried) == ("skipped", [])
