"""What can happen to the consumers themselves?"""

import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from consumer.kafka.exactly_once import FENCE_MEMORY
from tests.faults.fleet import READY_WITHIN, is_member, see_off, wait_all_ready
from tests.faults.world import World
from tests.rigs.deadline import wait_until
from tests.rigs.kafka_proxy import Api, Catch, Request
from tests.rigs.process import ConsumerProcess
from tests.rigs.s3_proxy import Fault

STORM, CALM = 8, 3
TRANSACTION_TIMEOUT = 12.0  # the consumer's
ABORTED_EVERY = 10.0  # seconds between two looks of the broker at transactions that have timed out
SLACK = 10.0  # seconds


class _ConsumerFault:
    settings: Mapping[str, Mapping[str, Any]] = {}
    needs: frozenset[str] = frozenset()


class Killed(_ConsumerFault):
    """SIGKILL of one or several, one shortly after the other; replaced at once."""

    name = "killed"

    def strike(self, world: World, rng: random.Random) -> None:
        for replica in _some(world, rng):
            world.wait(rng.uniform(0, 0.5))
            _kill(world, replica)
        world.healed()
        _fill_up(world)


class KilledInOutage(_ConsumerFault):
    """Five members killed one after the other while no image can be had: no job is to blame.

    The store itself answers, else replacements would not join the group before it does.
    """

    name = "killed in an outage"
    needs = frozenset({"s3_proxy"})
    settings: Mapping[str, Mapping[str, Any]] = {"images": {"unavailable_after": 600}}

    def strike(self, world: World, rng: random.Random) -> None:
        for key in world.facts["keys"]:
            world.s3_proxy.fail(Fault.ERROR, key)
        try:
            for _ in range(5):
                victim = rng.choice(world.fleet.running)
                wait_until(
                    lambda v=victim: world.over.is_set() or is_member(v),  # type: ignore[misc]
                    within=READY_WITHIN,
                    what=f"{victim.name} has joined",
                )
                world.wait(rng.uniform(0.5, 3))
                _kill(world, victim)
                world.fleet.add()
        finally:
            world.s3_proxy.heal()
        world.healed()
        wait_all_ready(world.fleet, world.over)


class Stalled(_ConsumerFault):
    """SIGSTOP for twice the session time-out, then SIGCONT: others own what it still holds to be its own."""

    name = "stalled"

    def strike(self, world: World, rng: random.Random) -> None:
        stalled = _some(world, rng)
        for replica in stalled:
            world.note(f"SIGSTOP {replica.name}")
            replica.pause()
        world.wait(2 * world.session_timeout)
        for replica in stalled:
            world.note(f"SIGCONT {replica.name}")
            replica.resume()
        world.healed()
        wait_all_ready(world.fleet, world.over)


class Terminated(_ConsumerFault):
    """SIGTERM of one or several: each drains, leaves and ends with 0."""

    name = "terminated"

    def strike(self, world: World, rng: random.Random) -> None:
        ended = _some(world, rng)
        for replica in ended:
            world.note(f"SIGTERM {replica.name}")
            replica.terminate()
        world.healed()
        for replica in ended:
            see_off(replica, world.fleet)
        _fill_up(world)


class Storm(_ConsumerFault):
    """Up to eight members, then down to three, each coming and going at a moment of its own."""

    name = "rebalance storm"

    def strike(self, world: World, rng: random.Random) -> None:
        while len(world.fleet.running) < STORM and not world.over.is_set():
            world.fleet.add()
            world.wait(rng.uniform(0, 1.5))
        wait_all_ready(world.fleet, world.over)
        while len(world.fleet.running) > CALM and not world.over.is_set():
            leaving = rng.choice(world.fleet.running)
            world.note(f"SIGTERM {leaving.name}")
            leaving.terminate()
            see_off(leaving, world.fleet)
            world.wait(rng.uniform(0, 1))


class StalledInDelivery(_ConsumerFault):
    """SIGSTOP while its transaction is open, until the broker has ended that by its time-out; the commit that was on
    its way arrives then. The process must come back, not take itself for fenced by another one."""

    name = "stalled in a delivery"
    needs = frozenset({"kafka_proxy"})
    # With the classic protocol its membership outlives this: it is the transaction alone that is gone.
    settings: Mapping[str, Mapping[str, Any]] = {"kafka": {"extra": {"session.timeout.ms": 45_000}}}

    def strike(self, world: World, rng: random.Random) -> None:
        admin = AdminClient({"bootstrap.servers": world.topics.bootstrap_servers, "log_level": 0})
        struck: dict[str, float] = world.facts.setdefault("stalled", {})
        held, victim, still_open = _stall(admin, world, struck)
        with held:
            world.note(f"SIGSTOP {victim.name}, its transaction is open: {sorted(still_open)[:3]}")
            wait_until(
                lambda: world.over.is_set() or not still_open & _open_transactions(admin, world),
                within=TRANSACTION_TIMEOUT + ABORTED_EVERY + SLACK,
                what="the broker ends the stalled transaction",
            )
            world.wait(rng.uniform(0, 2))
        held.wait_answered()
        world.note(f"SIGCONT {victim.name}")
        victim.resume()
        struck[victim.name] = resumed_at = time.monotonic()
        world.healed()
        wait_all_ready(world.fleet, world.over)
        # So that one of them has always been left alone for long enough, see `_stall`.
        world.wait(max(0.0, FENCE_MEMORY / world.replicas - (time.monotonic() - resumed_at)))


def _stall(
    admin: AdminClient, world: World, struck: Mapping[str, float]
) -> tuple[Catch, ConsumerProcess, frozenset[tuple[str, int, int]]]:
    """A commit that does not get to the broker, the process that asked for it, now stopped, and what it holds open.

    Not one that was struck just before: a second fence within its memory ends a process, as it should.
    """
    while True:
        held: Catch = world.kafka_proxy.hold(Api.END_TXN, count=1)
        victim = _whose(world, held.wait(within=READY_WITHIN))
        if time.monotonic() - struck.get(victim.name, float("-inf")) > FENCE_MEMORY - TRANSACTION_TIMEOUT:
            victim.pause()
            if still_open := _held_up(admin, world):
                return held, victim, still_open
            victim.resume()  # it was of offsets alone, such as at a rebalance
        held.release()


def _whose(world: World, request: Request) -> ConsumerProcess:
    """The consumer that asked."""
    for replica in world.fleet.running:
        if request.client_port in _ports(replica.process_id):
            return replica
    raise RuntimeError(f"no consumer has a connection from port {request.client_port}")


def _ports(process_id: int) -> set[int]:
    """On which ports of this machine a process has connections."""
    process = Path(f"/proc/{process_id}")
    sockets = {str(descriptor.readlink()) for descriptor in process.joinpath("fd").iterdir()}
    table = [line.split() for line in process.joinpath("net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].split(":")[1], 16) for row in table if f"socket:[{row[9]}]" in sockets}


def _held_up(admin: AdminClient, world: World) -> frozenset[tuple[str, int, int]]:
    """Output partitions with an open transaction that outlives a look of half a second, and where it began."""
    before = _open_transactions(admin, world)
    world.wait(0.5)
    return before & _open_transactions(admin, world)


def _open_transactions(admin: AdminClient, world: World) -> frozenset[tuple[str, int, int]]:
    stable, high = (
        _ends(admin, world, level) for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED)
    )
    return frozenset((*place, offset) for place, offset in stable.items() if offset < high[place])


def _ends(admin: AdminClient, world: World, level: IsolationLevel) -> dict[tuple[str, int], int]:
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    places = [TopicPartition(topic, n) for topic in world.topics.outcomes for n in range(world.topics.partitions)]
    answers = admin.list_offsets(dict.fromkeys(places, latest), isolation_level=level, request_timeout=5)
    return {(at.topic, at.partition): future.result().offset for at, future in answers.items()}


def _some(world: World, rng: random.Random) -> list[ConsumerProcess]:
    """One, several or all but one of those that run."""
    running = world.fleet.running
    return rng.sample(running, rng.randint(1, max(1, len(running) - 1)))


def _kill(world: World, replica: ConsumerProcess) -> None:
    world.note(f"SIGKILL {replica.name}")
    replica.kill()
    world.fleet.forget(replica)


def _fill_up(world: World) -> None:
    """Replace what is gone."""
    while len(world.fleet.running) < world.replicas and not world.over.is_set():
        world.fleet.add()
    wait_all_ready(world.fleet, world.over)


CONSUMER_FAULTS = (Killed(), KilledInOutage(), Stalled(), Terminated(), Storm(), StalledInDelivery())
