"""What can happen to the brokers, and between them and the consumers?"""

import random
from collections.abc import Callable, Mapping
from typing import Any

from tests.faults.fleet import see_off, wait_all_ready
from tests.faults.world import World
from tests.rigs.deadline import wait_until
from tests.rigs.kafka import KafkaCluster
from tests.rigs.kafka_places import Places
from tests.rigs.kafka_proxy import Api, Catch, KafkaProxy, Request

NODE_SESSION = 6.0  # the cluster's broker.session.timeout.ms: who is silent for longer leads nothing any more
SHORTEST, LONGEST = 0.0, 6.0  # seconds that a node is away
ASKED_WITHIN = 60.0
DOWN_WITHIN = 60.0


class _ClusterFault:
    settings: Mapping[str, Mapping[str, Any]] = {}
    needs: frozenset[str] = frozenset({"cluster"})


class Bounced(_ClusterFault):
    """One node is stopped cleanly or killed, is away for a while, and comes back."""

    def __init__(self, name: str, *, hard: bool) -> None:
        self.name = name
        self._is_hard = hard

    def strike(self, world: World, rng: random.Random) -> None:
        cluster, places = _cluster(world)
        _bounce(world, rng, rng.choice(cluster.running), hard=self._is_hard)
        world.healed()
        places.give_back()


class Rolled(_ClusterFault):
    """All nodes one after the other, each when the one before is in sync again."""

    def __init__(self, name: str, *, hard: bool) -> None:
        self.name = name
        self._is_hard = hard

    def strike(self, world: World, rng: random.Random) -> None:
        cluster, places = _cluster(world)
        for node in rng.sample(cluster.running, len(cluster.running)):
            if world.over.is_set():
                return
            _bounce(world, rng, node, hard=self._is_hard)
            places.wait_in_sync()
        world.healed()
        places.give_back()


class Moved(_ClusterFault):
    """Whoever has one task loses it twice: to others when it is stopped, and back to it while all nodes run."""

    def __init__(self, name: str, find: Callable[[World, Places, random.Random], int | None], *needs: str) -> None:
        self.name = name
        self.needs = frozenset({"cluster", *needs})
        self._find = find

    def strike(self, world: World, rng: random.Random) -> None:
        _, places = _cluster(world)
        node = self._find(world, places, rng)
        if node is None:
            raise RuntimeError(f"{self.name}: nobody has it")
        _bounce(world, rng, node, hard=False)
        places.wait_in_sync()
        world.wait(rng.uniform(SHORTEST, LONGEST))
        world.note(f"node {node} leads again what it led")
        places.give_back()


def _group_coordinator(world: World, places: Places, _: random.Random) -> int | None:
    return places.group_coordinator(world.topics.group)


def _transaction_coordinator(world: World, *_: object) -> int:
    """Of the consumer that asks next to end a transaction: it asks its coordinator."""
    with world.kafka_proxy.look_for(Api.END_TXN, count=1) as asked:
        return int(asked.wait(within=ASKED_WITHIN).node)


def _leader(world: World, places: Places, rng: random.Random) -> int | None:
    topic = rng.choice([world.topics.jobs, world.topics.results])
    return places.leader(topic, rng.randrange(world.topics.partitions))


class Paused(_ClusterFault):
    """A node stands still until the others have long put it out, and then goes on as if nothing had happened."""

    name = "broker paused"

    def strike(self, world: World, rng: random.Random) -> None:
        cluster, places = _cluster(world)
        node = rng.choice(cluster.running)
        world.note(f"SIGSTOP node {node}")
        cluster.pause_node(node)
        world.wait(NODE_SESSION + rng.uniform(1, 8))
        world.note(f"SIGCONT node {node}")
        cluster.resume_node(node)
        world.healed()
        places.give_back()


class DiskFull(_ClusterFault):
    """A node's disk has no room left. The node gives up its copies or ends; it is started again when there is room."""

    name = "disk full"
    needs = frozenset({"cluster", "disk"})

    def strike(self, world: World, rng: random.Random) -> None:
        cluster, places = _cluster(world)
        ((node, disk),) = cluster.disks.items()
        world.note(f"the disk of node {node} is full")
        disk.fill()
        try:
            wait_until(
                lambda: node not in cluster.running or places.leads_nothing(node) or world.over.is_set(),
                within=DOWN_WITHIN,
                what=f"node {node} leads nothing any more",
            )
            world.note(f"node {node} {'leads nothing any more' if node in cluster.running else 'has ended'}")
            world.wait(rng.uniform(SHORTEST, LONGEST))
        finally:
            disk.free()
        cluster.stop_node(node, hard=True)
        cluster.start_node(node)
        world.note(f"node {node} runs again, with room on its disk")
        world.healed()
        places.give_back()


class _WireFault:
    settings: Mapping[str, Mapping[str, Any]] = {}
    needs: frozenset[str] = frozenset({"kafka_proxy"})


class Late(_WireFault):
    """A request of one transaction comes to the broker while the next one of the same producer is open. Its client has
    lost the connection, or waited in vain, and has asked again."""

    def __init__(self, name: str, api: Api, *, is_after_offsets: bool) -> None:
        """`is_after_offsets`: the next transaction has not only outcomes but offsets too when it comes."""
        self.name = name
        self._api = api
        self._is_after_offsets = is_after_offsets

    def strike(self, world: World, rng: random.Random) -> None:
        proxy: KafkaProxy = world.kafka_proxy
        with proxy.hold(self._api, count=1) as late:
            producer = _asked(world, late).transactional_id
            with proxy.hold(Api.ADD_OFFSETS_TO_TXN, count=1, containing=producer) as following:
                world.note(f"{self._api.name} of {producer} is held")
                if rng.random() < 0.5:
                    world.note("its client loses the connection")
                    late.hang_up()
                _asked(world, following)
                if self._is_after_offsets:
                    with proxy.hold(Api.END_TXN, count=1, containing=producer) as end:
                        following.release()
                        _asked(world, end)
                        _let_arrive(world, late)
                else:
                    _let_arrive(world, late)


class Held(_WireFault):
    """No end of a transaction gets to the brokers for a while, which may be longer than transactions may last."""

    name = "EndTxn held"

    def strike(self, world: World, rng: random.Random) -> None:
        with world.kafka_proxy.hold(Api.END_TXN) as held:
            _asked(world, held)
            seconds = rng.uniform(3, 16)
            world.note(f"every EndTxn is held for {seconds:.1f} s")
            world.wait(seconds)
        world.note(f"{len(held.requests)} of them arrive")


class Unanswered(_WireFault):
    """Some transactions end, and nobody is told."""

    name = "EndTxn unanswered"

    def strike(self, world: World, rng: random.Random) -> None:
        with world.kafka_proxy.swallow(Api.END_TXN, count=rng.randint(1, 3)) as swallowed:
            request = _asked(world, swallowed)
            world.note(f"{request.transactional_id} is not told how its transaction ended")
            world.wait(rng.uniform(1, 8))
            swallowed.wait_answered()


class Unheard(_WireFault):
    """One member goes and another one comes, and some answers to heartbeats are lost meanwhile: with KIP-848 nothing
    else tells a member which partitions it has."""

    name = "heartbeats unanswered"

    def strike(self, world: World, rng: random.Random) -> None:
        heartbeat = Api.CONSUMER_GROUP_HEARTBEAT if world.protocol == "consumer" else Api.HEARTBEAT
        leaving = rng.choice(world.fleet.running)
        world.fleet.add()
        world.note(f"SIGTERM {leaving.name}, while heartbeats are not answered")
        leaving.terminate()
        lost = 0
        for _ in range(rng.randint(6, 12)):
            with world.kafka_proxy.swallow(heartbeat, count=rng.randint(1, 2)) as swallowed:
                world.wait(rng.uniform(0.5, 1.5))
                lost += len(swallowed.requests)
        world.note(f"{lost} answers to heartbeats were lost")
        see_off(leaving, world.fleet)
        world.healed()
        wait_all_ready(world.fleet, world.over)


class Cut(_WireFault):
    """All connections are reset, some times in a row."""

    name = "connections cut"

    def strike(self, world: World, rng: random.Random) -> None:
        for _ in range(rng.randint(1, 5)):
            world.note("all connections are reset")
            world.kafka_proxy.reset()
            world.wait(rng.uniform(0, 1))


class Slow(_WireFault):
    """Each request takes long to get to its broker."""

    name = "slow network"

    def strike(self, world: World, rng: random.Random) -> None:
        world.kafka_proxy.delay = delay = rng.uniform(0.05, 0.5)
        world.note(f"each request is {delay:.2f} s on its way")
        world.wait(rng.uniform(3, 10))
        world.kafka_proxy.delay = 0.0


BROKER_FAULTS = (
    Bounced("broker stopped", hard=False),
    Bounced("broker killed", hard=True),
    Rolled("brokers stopped in turn", hard=False),
    Rolled("brokers killed in turn", hard=True),
    Moved("group coordinator moved", _group_coordinator),
    Moved("transaction coordinator moved", _transaction_coordinator, "kafka_proxy"),
    Moved("partition leader moved", _leader),
    Paused(),
    DiskFull(),
    Late("late EndTxn", Api.END_TXN, is_after_offsets=False),
    Late("late offsets", Api.TXN_OFFSET_COMMIT, is_after_offsets=True),
    Held(),
    Unanswered(),
    Unheard(),
    Cut(),
    Slow(),
)


def _cluster(world: World) -> tuple[KafkaCluster, Places]:
    if world.cluster is None:
        raise RuntimeError("these brokers are not ours to harm")
    return world.cluster, Places(world.cluster.bootstrap_servers)


def _bounce(world: World, rng: random.Random, node: int, *, hard: bool) -> None:
    cluster, _ = _cluster(world)
    world.note(f"{'SIGKILL' if hard else 'SIGTERM'} node {node}")
    cluster.stop_node(node, hard=hard)
    world.wait(rng.uniform(SHORTEST, LONGEST))
    cluster.start_node(node)
    world.note(f"node {node} runs again")


def _asked(world: World, catch: Catch) -> Request:
    """The first request that is caught. Raises TimeoutError: a fault that nobody met proves nothing."""
    return catch.wait(within=ASKED_WITHIN)


def _let_arrive(world: World, late: Catch) -> None:
    late.release()
    late.wait_answered()
    world.note("it arrives, and the next transaction is open")
