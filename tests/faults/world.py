"""What may a fault lay its hands on, and how does it say what it did?"""

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.rigs.kafka import KafkaCluster
from tests.rigs.process import ConsumerProcess
from tests.rigs.s3 import S3Server
from tests.rigs.topics import Topics


class Fleet(Protocol):
    """The consumers of a cell; each is `consumer run` in a process of its own, of one group."""

    @property
    def running(self) -> list[ConsumerProcess]:
        """Those that run and are not stalled, oldest first."""

    def add(self) -> ConsumerProcess:
        """Start one more, with the cell's settings."""

    def forget(self, replica: ConsumerProcess) -> None:
        """It was ended on purpose; how it ended is the fault's affair."""


@dataclass
class World:
    """A cell's servers and consumers. `cluster` is None where the cell's broker is not ours to harm."""

    topics: Topics
    protocol: str
    session_timeout: float
    """Seconds after which the group takes a silent member's partitions away."""
    fleet: Fleet
    store: S3Server
    s3_proxy: Any
    """tests/rigs/s3_proxy.py between the consumers and the store, or None."""
    cluster: KafkaCluster | None
    kafka_proxy: Any
    """tests/rigs/kafka_proxy.py in front of the broker that the consumers see, or None."""
    over: threading.Event
    """Set when the cell gives up: whoever waits comes back."""
    replicas: int = 3
    """How many consumers the cell has when nothing is struck."""
    note: Callable[[str], None] = lambda _: None
    """Puts one line into the history, with its time."""
    healed: Callable[[], None] = lambda: None
    """The harm is over although the strike is not, such as when replacements of the killed have yet to start: recovery
    counts from the last such call, else from the strike's return."""
    widen: Callable[[int], None] = lambda _: None
    """The topics have so many partitions now: jobs go to all of them, and outcomes are read from all."""
    facts: dict[str, Any] = field(default_factory=dict)
    """`allowed`: dead letters that a fault may cost, their reasons by Source; `keys` of the good images; `switches`:
    the folder that tests/faults/switched.py reads; `partitions` that the topics have by now."""

    def wait(self, seconds: float) -> None:
        """How long a fault lasts; ends early when the cell is over."""
        self.over.wait(seconds)


class Fault(Protocol):
    """One kind of harm. `strike` does it and takes it back, all of it, before it returns: killed replicas are replaced,
    stalled ones go on, nodes run again, the store answers. It draws what it needs from `rng` alone."""

    name: str
    settings: Mapping[str, Mapping[str, Any]]
    """What the cell's consumers need for it beyond the usual settings, section by section; {} mostly."""
    needs: frozenset[str]
    """Of: "cluster" (three nodes of the cell's own), "kafka_proxy", "disk" (a node on a small tmpfs), "s3_proxy"."""

    def strike(self, world: World, rng: random.Random) -> None: ...
