"""Which faults are struck together, and on what?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tests.faults.brokers import BROKER_FAULTS
from tests.faults.consumers import CONSUMER_FAULTS
from tests.faults.neighbours import ENGINE_FAULTS, STORE_FAULTS, TOPIC_FAULTS
from tests.faults.world import Fault

PROTOCOLS: tuple[Literal["classic", "consumer"], ...] = ("classic", "consumer")
SESSION_TIMEOUT = 6.0
"""Set for the classic protocol; the test brokers' own for the other one (tests/rigs/kafka_node.py)."""
CLASSIC_ONLY = ("session.timeout.ms", "heartbeat.interval.ms")


@dataclass(frozen=True)
class Cell:
    """One row of the matrix; it runs with either protocol."""

    name: str
    faults: tuple[Fault, ...]
    replicas: int = 3
    partitions: int = 12
    has_slots: bool = False
    """Each replica has a `delivery.slot` that its replacement takes over; else every process has one of its own."""
    model: Literal["stand-in", "demo"] = "stand-in"
    most_jobs: int | None = None
    most_bytes: int = 512 << 20
    """Bound on the resident memory of each replica."""

    @property
    def needs(self) -> frozenset[str]:
        return frozenset[str]().union(*(fault.needs for fault in self.faults))

    def settings(self, protocol: str) -> dict[str, Any]:
        """What the cell's consumers are told beyond where their servers are."""
        soon = {"session.timeout.ms": round(SESSION_TIMEOUT * 1000), "heartbeat.interval.ms": 1000}
        settings: dict[str, Any] = {"kafka": {"group_protocol": protocol, "extra": soon}}
        for fault in self.faults:
            settings = merged(settings, fault.settings)
        if protocol == "consumer":  # the broker's business
            extra = settings["kafka"]["extra"]
            settings["kafka"]["extra"] = {name: value for name, value in extra.items() if name not in CLASSIC_ONLY}
        return settings

    def session_timeout(self, protocol: str) -> float:
        extra = self.settings(protocol)["kafka"]["extra"]
        return float(extra.get("session.timeout.ms", SESSION_TIMEOUT * 1000)) / 1000


def merged(settings: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """`more` goes first, key by key, down to the last map."""
    found = dict(settings)
    for name, value in more.items():
        known = found.get(name)
        found[name] = merged(known, value) if isinstance(value, Mapping) and isinstance(known, Mapping) else value
    return found


def _named(*names: str) -> tuple[Fault, ...]:
    kinds: tuple[Fault, ...] = (*CONSUMER_FAULTS, *STORE_FAULTS, *ENGINE_FAULTS, *TOPIC_FAULTS, *BROKER_FAULTS)
    known = {fault.name: fault for fault in kinds}
    return tuple(known[name] for name in names)


def cells() -> tuple[Cell, ...]:
    """The matrix: each kind alone or with its like, then what came alone together, then the demo's model."""
    return (
        Cell("killed", _named("killed")),
        Cell("killed-slots", _named("killed"), has_slots=True),
        Cell("killed-in-outage", _named("killed in an outage")),
        Cell("stalled", _named("stalled")),
        Cell("stalled-slots", _named("stalled", "killed"), has_slots=True),
        Cell("terminated", _named("terminated")),
        Cell("storm", _named("rebalance storm"), replicas=2),
        Cell("stalled-in-delivery", _named("stalled in a delivery")),
        Cell("store", STORE_FAULTS),
        Cell("engine", ENGINE_FAULTS),
        Cell("partitions", TOPIC_FAULTS),
        Cell("consumers-and-store", (*_named("killed", "stalled", "terminated"), *STORE_FAULTS, *TOPIC_FAULTS)),
        *(Cell(fault.name.replace(" ", "-").lower(), (fault,)) for fault in BROKER_FAULTS),
        Cell(
            "demo-model", _named("killed", "terminated", "store 500"), model="demo", most_jobs=1000, most_bytes=1 << 30
        ),
    )


SHORT_JOBS = 1200


def short_cells() -> tuple[tuple[Cell, str], ...]:
    """What `make test` has time for, with the protocol of each: every quick kind once."""
    calm, wire = ("stalled", "terminated"), ("late EndTxn", "connections cut")
    return (
        (Cell("short-store", (*_named("killed"), *STORE_FAULTS)), "classic"),
        (
            Cell("short-consumers", _named(*calm, "partitions added", "engine out of memory")),
            "consumer",
        ),
        (
            Cell("short-wire", _named("killed", *wire), has_slots=True),
            "classic",
        ),
        (Cell("short-brokers", _named("broker killed")), "consumer"),
    )


def slow_cells() -> tuple[tuple[Cell, str], ...]:
    """What `make test-slow` runs beyond that."""
    clustered = ("broker stopped", "group coordinator moved", "partition leader moved")
    return (
        (Cell("slow-consumers", _named("rebalance storm", "killed in an outage")), "classic"),
        (Cell("slow-engine", _named("engine raises", "engine hangs")), "consumer"),
        (Cell("slow-delivery", _named("stalled in a delivery")), "classic"),
        (Cell("slow-wire", _named("late offsets", "EndTxn held", "EndTxn unanswered", "slow network")), "consumer"),
        (Cell("slow-brokers", _named(*clustered, "broker paused")), "classic"),
    )
