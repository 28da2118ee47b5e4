"""What becomes of requests between a client and its broker: held, late, done without an answer, cut off?"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import partial
from types import MappingProxyType
from typing import Self

from consumer.demo.ports import free_port
from tests.rigs.deadline import wait_until
from tests.rigs.kafka import KafkaCluster, KafkaUnavailable
from tests.rigs.kafka_jars import missing_tool
from tests.rigs.small_disk import SmallDisk

_LOOK = 0.02  # seconds between two looks at whether a broker has answered what its clients left behind
_GONE = (OSError, asyncio.IncompleteReadError)


class Api(IntEnum):
    """The requests of Kafka's protocol that tests name, by its numbers."""

    PRODUCE = 0
    FETCH = 1
    OFFSET_COMMIT = 8
    HEARTBEAT = 12
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28
    CONSUMER_GROUP_HEARTBEAT = 68


class _What(Enum):
    LOOK = "the request goes on"
    HOLD = "the request waits here"
    SWALLOW = "the request goes on, its answer does not"


@dataclass
class Request:
    """One request that was caught. `node` counts from 0, as in KafkaCluster."""

    node: int
    frame: bytes
    client: asyncio.StreamWriter
    is_answered: bool = False
    """The broker has done it, whether or not the client was told."""

    @property
    def client_port(self) -> int:
        """From where on this machine it came."""
        port: int = self.client.get_extra_info("peername")[1]
        return port

    @property
    def api(self) -> int:
        return int.from_bytes(self.frame[:2])

    @property
    def transactional_id(self) -> str:
        """The first field of requests about transactions, in the versions that librdkafka speaks."""
        _, rest = _string(self.frame[8:])  # the client's id
        if self.api == Api.TXN_OFFSET_COMMIT:
            return _compact_string(rest[1:]).decode()  # behind no tagged fields
        return _string(rest)[0].decode()


class Catch:
    """What was caught until `release`, which lets go of it; a `with` block ends with that."""

    def __init__(
        self, what: _What, apis: Sequence[Api], count: int | None, containing: str, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.what = what
        self.requests: list[Request] = []
        self.is_released = False
        self.passed = asyncio.Event()
        self._apis = frozenset(apis)
        self._count = count
        self._containing = containing.encode()
        self._loop = loop

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def wait(self, count: int = 1, *, within: float = 20) -> Request:
        """Return the newest request when `count` of them were caught."""
        wait_until(lambda: len(self.requests) >= count, within=within, what=f"{count} of {self._apis} are asked for")
        return self.requests[-1]

    def wait_answered(self, *, within: float = 20) -> None:
        """Return when the broker has answered all that was caught."""
        wait_until(self._is_answered, within=within, what=f"{self._apis} are answered")

    def release(self) -> None:
        """What waits goes on, and no more is caught. A held request gets there although its client may have gone."""
        self.is_released = True
        with contextlib.suppress(RuntimeError):  # the proxy is closed
            self._loop.call_soon_threadsafe(self.passed.set)

    def hang_up(self) -> None:
        """The clients lose the connections on which they asked; what was asked for is on its way all the same."""
        for request in self.requests:
            self._loop.call_soon_threadsafe(_reset, request.client)

    def takes(self, frame: bytes) -> bool:
        if self.is_released or len(self.requests) == self._count:
            return False
        return (not self._apis or int.from_bytes(frame[:2]) in self._apis) and self._containing in frame

    def _is_answered(self) -> bool:
        return all(request.is_answered for request in self.requests)


class KafkaProxy:
    """A port before each node, where the nodes tell clients to find them, see `open_proxied`.

    As on any TCP connection, what follows a held request on its connection waits behind it; other connections flow.
    """

    def __init__(self, nodes: Sequence[int]) -> None:
        """`nodes`: the ports on 127.0.0.1 at which the nodes listen."""
        self.nodes = nodes
        self.ports = [free_port() for _ in nodes]
        self.delay = 0.0
        """Seconds that each request waits, one after the other on each connection."""
        self.catches: tuple[Catch, ...] = ()
        self.connections: set[_Connection] = set()
        self._has_started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="kafka-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._has_started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self.ports)

    def hold(self, *apis: Api, count: int | None = None, containing: str = "") -> Catch:
        """The next `count` requests of these kinds (no kind: of any) get to the broker after the release."""
        return self._catch(_What.HOLD, apis, count, containing)

    def swallow(self, *apis: Api, count: int | None = None, containing: str = "") -> Catch:
        """The broker does these requests, and its answers do not get to the clients."""
        return self._catch(_What.SWALLOW, apis, count, containing)

    def look_for(self, *apis: Api, count: int | None = None, containing: str = "") -> Catch:
        """Harm nothing: keep what is asked for."""
        return self._catch(_What.LOOK, apis, count, containing)

    def reset(self, node: int | None = None) -> None:
        """Cut the connections to a node, or to all of them; what is held there never arrives."""
        is_done = threading.Event()

        def cut() -> None:
            for connection in self.connections:
                if node is None or connection.node == node:
                    connection.reset()
            is_done.set()

        self._loop.call_soon_threadsafe(cut)
        is_done.wait()

    def _catch(self, what: _What, apis: Sequence[Api], count: int | None, containing: str) -> Catch:
        catch = Catch(what, apis, count, containing, self._loop)
        self.catches = (*(known for known in self.catches if not known.is_released), catch)
        return catch

    # --- in its own thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        servers = self._loop.run_until_complete(self._listen())
        self._has_started.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._end(servers))
        self._loop.close()

    async def _listen(self) -> list[asyncio.Server]:
        doors = [partial(self._serve, node) for node in range(len(self.nodes))]
        return [
            await asyncio.start_server(door, "127.0.0.1", port, backlog=256)
            for door, port in zip(doors, self.ports, strict=True)
        ]

    async def _end(self, servers: list[asyncio.Server]) -> None:
        for server in servers:
            server.close()
        for connection in list(self.connections):
            connection.reset()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, node: int, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            broker, to_broker = await asyncio.open_connection("127.0.0.1", self.nodes[node])
        except OSError:  # it is down: its clients see their connections end
            to_client.close()
            return
        connection = _Connection(self, node, to_client, to_broker)
        self.connections.add(connection)
        with contextlib.suppress(asyncio.CancelledError):
            await connection.run(client, broker)
        self.connections.discard(connection)


class _Connection:
    """One client's connection to one node."""

    def __init__(
        self, proxy: KafkaProxy, node: int, to_client: asyncio.StreamWriter, to_broker: asyncio.StreamWriter
    ) -> None:
        self.node = node
        self._proxy = proxy
        self._to_client = to_client
        self._to_broker = to_broker
        self._asked: dict[bytes, list[tuple[Catch, Request]]] = {}  # by the numbers that answers have too

    async def run(self, client: asyncio.StreamReader, broker: asyncio.StreamReader) -> None:
        answers = asyncio.ensure_future(self._pass_answers(broker))
        try:
            with contextlib.suppress(*_GONE):
                await self._pass_requests(client)
            while self._asked and not answers.done():  # a client that went away does not take back what it asked for
                await asyncio.sleep(_LOOK)
        finally:
            answers.cancel()
            self._to_broker.close()
            self._to_client.close()

    def reset(self) -> None:
        for writer in (self._to_client, self._to_broker):
            _reset(writer)

    async def _pass_requests(self, client: asyncio.StreamReader) -> None:
        while True:
            frame = await _read(client)
            request = Request(self.node, frame, self._to_client)
            catches = [catch for catch in self._proxy.catches if catch.takes(frame)]
            for catch in catches:
                catch.requests.append(request)
            if self._proxy.delay:
                await asyncio.sleep(self._proxy.delay)
            for catch in catches:
                if catch.what is _What.HOLD:
                    await catch.passed.wait()
            self._asked[frame[4:8]] = [(catch, request) for catch in catches]
            await _write(self._to_broker, frame)

    async def _pass_answers(self, broker: asyncio.StreamReader) -> None:
        with contextlib.suppress(*_GONE):
            while True:
                frame = await _read(broker)
                catches = self._asked.pop(frame[:4], [])
                for _, request in catches:
                    request.is_answered = True
                if not any(catch.what is _What.SWALLOW for catch, _ in catches):
                    with contextlib.suppress(*_GONE):
                        await _write(self._to_client, frame)
        self._to_client.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    """What both sides send: a length, then as many bytes."""
    return await reader.readexactly(int.from_bytes(await reader.readexactly(4)))


async def _write(writer: asyncio.StreamWriter, frame: bytes) -> None:
    writer.write(len(frame).to_bytes(4) + frame)
    await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Without lingering a close is a reset."""
    if not writer.is_closing():
        end: socket.socket = writer.get_extra_info("socket")
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _string(field: bytes) -> tuple[bytes, bytes]:
    """A string behind its length, and what follows; a length of -1 is no string."""
    end = 2 + max(0, int.from_bytes(field[:2], signed=True))
    return field[2:end], field[end:]


def _compact_string(field: bytes) -> bytes:
    """A string behind its length and one, in seven bits and seven more where the first byte says so."""
    low, high = field[:2]
    start, length = (2, (low & 0x7F) + (high << 7)) if low & 0x80 else (1, low)
    return field[start : start + length - 1]


@dataclass(frozen=True)
class ProxiedKafka:
    """A cluster whose clients come through a proxy, those that start at `bootstrap_servers`; the cluster's own address
    is a way around it."""

    cluster: KafkaCluster
    proxy: KafkaProxy

    @property
    def bootstrap_servers(self) -> str:
        return self.proxy.bootstrap_servers

    @property
    def description(self) -> str:
        return f"{self.cluster.description}, behind a proxy"


@contextmanager
def open_proxied(nodes: int = 1, *, disks: Mapping[int, SmallDisk] = MappingProxyType({})) -> Iterator[ProxiedKafka]:
    """Give a cluster and the proxy in front of it. `disks`: the nodes whose data lies on a small disk."""
    if reason := missing_tool():
        raise KafkaUnavailable(f"no Kafka behind a proxy: {reason}")
    with (
        KafkaProxy([free_port() for _ in range(nodes)]) as proxy,
        KafkaCluster(nodes, adjust=partial(_add_listener, proxy), disks=disks) as cluster,
    ):
        yield ProxiedKafka(cluster, proxy)


def _add_listener(proxy: KafkaProxy, settings: Mapping[str, str]) -> Mapping[str, str]:
    node = int(settings["node.id"]) - 1
    return {
        **settings,
        "listeners": f"{settings['listeners']},PROXIED://127.0.0.1:{proxy.nodes[node]}",
        "advertised.listeners": f"{settings['advertised.listeners']},PROXIED://127.0.0.1:{proxy.ports[node]}",
        "listener.security.protocol.map": f"{settings['listener.security.protocol.map']},PROXIED:PLAINTEXT",
        # Who is held up until his transaction has timed out shall not wait ten seconds more for that to be noticed.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    }
