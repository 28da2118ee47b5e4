"""What are the settings of a test broker?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ports:
    """Where one node listens on 127.0.0.1."""

    broker: int
    controller: int


def node_settings(node: int, nodes: Sequence[Ports], *, bind: str = "127.0.0.1") -> Mapping[str, str]:
    """Return the properties of node number `node`, broker and controller in one; node.id counts from 1."""
    copies, in_sync = ("3", "2") if len(nodes) >= 3 else ("1", "1")
    voters = (f"{index + 1}@127.0.0.1:{ports.controller}" for index, ports in enumerate(nodes))
    mine = nodes[node]
    return {
        "process.roles": "broker,controller",
        "node.id": str(node + 1),
        "controller.quorum.voters": ",".join(voters),
        "listeners": f"PLAINTEXT://{bind}:{mine.broker},CONTROLLER://127.0.0.1:{mine.controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{mine.broker}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "auto.create.topics.enable": "false",
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        # A killed node is let in again when its old session has ended; 9 s by default. One that is alone must not fence
        # itself when a test stalls it: on waking it would skip the markers of open transactions.
        "broker.session.timeout.ms": "6000" if len(nodes) > 1 else "25000",
        # Few internal partitions: they start faster.
        "offsets.topic.replication.factor": copies,
        "offsets.topic.num.partitions": "8",
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
        "group.initial.rebalance.delay.ms": "0",
        # KIP-848 leaves these to the broker; by default a killed member is missed after 45 s.
        "group.consumer.session.timeout.ms": "6000",
        "group.consumer.min.session.timeout.ms": "6000",
        "group.consumer.heartbeat.interval.ms": "1000",
        "group.consumer.min.heartbeat.interval.ms": "1000",
    }
