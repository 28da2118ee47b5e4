"""Which servers does a cell run on, and who may harm them?"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Self

from tests.rigs.kafka import KafkaCluster, KafkaUnavailable
from tests.rigs.kafka_jars import missing_tool
from tests.rigs.kafka_proxy import KafkaProxy, open_proxied
from tests.rigs.s3 import S3Server
from tests.rigs.small_disk import small_disk

OF_BROKERS = {"cluster", "disk", "kafka_proxy"}


@dataclass(frozen=True)
class Brokers:
    """`bootstrap_servers` is the way of publisher and readers, `consumers_see` that of the consumers."""

    bootstrap_servers: str
    consumers_see: str
    cluster: KafkaCluster | None = None
    proxy: KafkaProxy | None = None


class Servers:
    """One store and one broker for all cells that harm neither beyond their proxies; a cluster for each that does."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._quiet: Brokers | None = None
        self._store: S3Server | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def store(self) -> S3Server:
        if self._store is None:
            self._store = self._stack.enter_context(S3Server())
        return self._store

    @contextmanager
    def brokers(self, needs: frozenset[str]) -> Iterator[Brokers]:
        """Raises KafkaUnavailable or DiskUnavailable where this machine cannot have them."""
        if reason := missing_tool():
            raise KafkaUnavailable(f"no Kafka of our own: {reason}")
        if not needs & OF_BROKERS:
            if self._quiet is None:
                address = self._stack.enter_context(KafkaCluster()).bootstrap_servers
                self._quiet = Brokers(address, address)
            yield self._quiet
            return
        with ExitStack() as stack:
            yield _own(needs, stack)


def _own(needs: frozenset[str], stack: ExitStack) -> Brokers:
    nodes = 3 if needs & {"cluster", "disk"} else 1
    disks = {nodes - 1: stack.enter_context(small_disk())} if "disk" in needs else {}
    if "kafka_proxy" not in needs:
        cluster = stack.enter_context(KafkaCluster(nodes, disks=disks))
        return Brokers(cluster.bootstrap_servers, cluster.bootstrap_servers, cluster)
    proxied = stack.enter_context(open_proxied(nodes, disks=disks))
    return Brokers(proxied.cluster.bootstrap_servers, proxied.bootstrap_servers, proxied.cluster, proxied.proxy)
