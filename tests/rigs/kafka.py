"""Which real Apache Kafka do the tests talk to, and how is a node of it stopped and started?"""

import base64
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from consumer.demo.ports import free_port
from consumer.leash import kill, send, spawn, tail
from tests.rigs.deadline import wait_until
from tests.rigs.kafka_docker import docker_broker, docker_image, missing_docker
from tests.rigs.kafka_jars import fetch_jars, kafka_version, missing_tool
from tests.rigs.kafka_node import Ports, node_settings
from tests.rigs.small_disk import SmallDisk

EXTERNAL_VARIABLE = "TEST_KAFKA_BOOTSTRAP"
_START_SECONDS = 120
_STOP_SECONDS = 30
_JAVA = (
    "java",
    "-Xms128m",
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # most of a short life is compilation
    "-XX:-UsePerfData",
    "-Dlog4j2.level=INFO",
)


class KafkaUnavailable(RuntimeError):
    """This machine has no way to run a real Kafka; the message lists what was tried."""


class Kafka(Protocol):
    """A running Kafka, whoever runs it."""

    @property
    def bootstrap_servers(self) -> str: ...

    @property
    def description(self) -> str: ...


@dataclass(frozen=True)
class GivenKafka:
    """A Kafka whose nodes are not ours to stop."""

    bootstrap_servers: str
    description: str


class KafkaCluster:
    """Apache Kafka in KRaft mode from jars, one Java process per node, every node broker and controller.

    Nodes are numbered from 0. A stopped node keeps its data and its ports until `close`.
    """

    def __init__(
        self,
        nodes: int = 1,
        *,
        adjust: Callable[[Mapping[str, str]], Mapping[str, str]] = dict,
        java_options: Sequence[str] = (),
        disks: Mapping[int, SmallDisk] = MappingProxyType({}),
    ) -> None:
        """`adjust` gets the settings of each node and gives those that it shall have; `disks` hold the data of some."""
        self.disks = disks
        self._adjust = adjust
        self._java_options = java_options
        self.description = f"Apache Kafka {kafka_version()} from jars, nodes: {nodes}"
        self._libs = fetch_jars()
        self._folder = Path(tempfile.mkdtemp(prefix="inspection-kafka-"))
        self._ports = [Ports(free_port(), free_port()) for _ in range(nodes)]
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            self._format()
            for node in range(len(self._ports)):
                self._spawn(node)
            self._wait_for_nodes()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(f"127.0.0.1:{ports.broker}" for ports in self._ports)

    @property
    def running(self) -> list[int]:
        """The nodes that were started and have not ended, paused ones too."""
        return [node for node, process in self._processes.items() if process.poll() is None]

    def stop_node(self, node: int, *, hard: bool = False) -> None:
        """Stop it cleanly (SIGTERM: leadership moves first) or hard (SIGKILL)."""
        process = self._processes.pop(node)
        if not hard:
            send(process, signal.SIGTERM)
            process.wait(_STOP_SECONDS)
        kill(process)

    def start_node(self, node: int) -> None:
        """Start a stopped node; return when every node that should run is in the cluster."""
        self._spawn(node)
        self._wait_for_nodes()

    def pause_node(self, node: int) -> None:
        send(self._processes[node], signal.SIGSTOP)

    def resume_node(self, node: int) -> None:
        send(self._processes[node], signal.SIGCONT)

    def close(self) -> None:
        """Kill what runs and delete the data: nobody reads it again."""
        for process in self._processes.values():
            kill(process)
        self._processes.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _format(self) -> None:
        """Write each node's settings and metadata, all nodes at once: it is mostly the start of a JVM."""
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tools = {}
        for node in range(len(self._ports)):
            disk = self.disks[node].folder if node in self.disks else self._folder
            settings = self._adjust({**node_settings(node, self._ports), "log.dirs": str(disk / f"data-{node}")})
            self._properties(node).write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
            arguments = ("format", f"--cluster-id={cluster_id}", "-c", self._properties(node))  # it may begin with "-"
            tools[node] = self._java(node, "kafka.tools.StorageTool", *arguments)
        for node, tool in tools.items():
            if tool.wait(_START_SECONDS):
                raise RuntimeError(f"kafka.tools.StorageTool failed\n{tail(self._log(node))}")

    def _spawn(self, node: int) -> None:
        self._processes[node] = self._java(node, "kafka.Kafka", self._properties(node))

    def _java(self, node: int, main: str, *arguments: str | Path) -> subprocess.Popen[bytes]:
        java = [*_JAVA, *self._java_options, "-cp", f"{self._libs}/*", main]
        return spawn([*java, *arguments], log=self._log(node), folder=self._folder)

    def _properties(self, node: int) -> Path:
        return self._folder / f"node-{node}.properties"

    def _log(self, node: int) -> Path:
        return self._folder / f"node-{node}.log"

    def _wait_for_nodes(self) -> None:
        """Wait until each node itself answers and knows the others: a killed one stays listed by them for a while."""
        wanted = {node + 1 for node in self._processes}
        for node in self._processes:
            admin = _quiet_admin(f"127.0.0.1:{self._ports[node].broker}")
            wait_until(
                lambda admin=admin: self._all_run() and wanted <= _brokers(admin),  # type: ignore[misc]
                within=_START_SECONDS,
                what=self._logs,
            )

    def _all_run(self) -> bool:
        for node, process in self._processes.items():
            if process.poll() is not None:
                raise RuntimeError(f"Kafka node {node} ended with {process.returncode}\n{tail(self._log(node))}")
        return True

    def _logs(self) -> str:
        return "\n".join(["Kafka has all its nodes", *(tail(self._log(node)) for node in self._processes)])


def kafka_source() -> str:
    """Say which Kafka `open_kafka` would give; raise KafkaUnavailable where there is none. Starts nothing."""
    if address := os.environ.get(EXTERNAL_VARIABLE):
        return f"{address} ({EXTERNAL_VARIABLE})"
    no_java = missing_tool()
    if no_java is None:
        return f"Apache Kafka {kafka_version()} from jars"
    no_docker = missing_docker()
    if no_docker is None:
        return f"{docker_image()} in Docker"
    raise KafkaUnavailable(f"no real Kafka: {EXTERNAL_VARIABLE} is not set; {no_java}; {no_docker}")


@contextmanager
def open_kafka() -> Iterator[Kafka]:
    """Give the first Kafka of: TEST_KAFKA_BOOTSTRAP, one node from jars, one node in Docker."""
    source = kafka_source()
    if address := os.environ.get(EXTERNAL_VARIABLE):
        yield GivenKafka(address, source)
    elif missing_tool() is None:
        with KafkaCluster() as cluster:
            yield cluster
    else:
        with docker_broker() as address:
            admin = _quiet_admin(address)
            wait_until(lambda: bool(_brokers(admin)), within=_START_SECONDS, what="Kafka in Docker answers")
            yield GivenKafka(address, source)


@contextmanager
def open_cluster(nodes: int) -> Iterator[KafkaCluster]:
    """Give a cluster whose nodes the test may stop; only jars can run one."""
    if reason := missing_tool():
        raise KafkaUnavailable(f"no Kafka cluster: {reason}")
    with KafkaCluster(nodes) as cluster:
        yield cluster


def _quiet_admin(bootstrap_servers: str) -> AdminClient:
    """Return a client that does not report every refused connection of a broker that is still starting."""
    quick = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200}
    return AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0, **quick})


def _brokers(admin: AdminClient) -> set[int]:
    try:
        return set(admin.list_topics(timeout=1).brokers)
    except KafkaException:
        return set()
