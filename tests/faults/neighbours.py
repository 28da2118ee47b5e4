"""What can happen around the consumers that is not the broker's: to the store, to the engine, to the topics?"""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient, NewPartitions

from tests.faults.fleet import last_words, wait_all_ready
from tests.faults.world import World
from tests.rigs.deadline import wait_until
from tests.rigs.s3_proxy import Fault as Failure

SHORTEST, LONGEST = 0.5, 4.0
JOB_DEADLINE = 8.0
ENGINE_BROKEN = 5  # the exit code


class StoreFails:
    """The store fails in one way for some seconds, for everybody and every object."""

    settings: Mapping[str, Mapping[str, Any]] = {}
    needs: frozenset[str] = frozenset({"s3_proxy"})

    def __init__(self, name: str, failure: Failure) -> None:
        self.name = name
        self._failure = failure

    def strike(self, world: World, rng: random.Random) -> None:
        seconds = rng.uniform(SHORTEST, LONGEST)
        world.note(f"the store: {self._failure.value}, for {seconds:.1f} s")
        world.s3_proxy.fail(self._failure)
        try:
            world.wait(seconds)
        finally:
            world.s3_proxy.heal()


STORE_FAULTS = (
    StoreFails("store 500", Failure.ERROR),
    StoreFails("store 503", Failure.SLOW_DOWN),
    StoreFails("store hangs", Failure.SILENCE),
    StoreFails("store resets", Failure.RESET),
    StoreFails("store slow body", Failure.STALL),
    StoreFails("store truncates", Failure.CUT),
    StoreFails("store refuses", Failure.REFUSED),
)


class EngineFails:
    """The engine of one consumer or of all but one fails every batch, until the process ends itself; it is replaced."""

    needs: frozenset[str] = frozenset()

    def __init__(self, name: str, told: str) -> None:
        self.name = name
        self.settings: Mapping[str, Mapping[str, Any]] = {"limits": {"job_deadline": JOB_DEADLINE}}
        self._told = told

    def strike(self, world: World, rng: random.Random) -> None:
        running = world.fleet.running
        victims = rng.sample(running, rng.randint(1, max(1, len(running) - 1)))
        for victim in victims:
            world.note(f"the engine of {victim.name}: {self._told}")
            _switch(world, victim.process_id).write_text(self._told)
        for victim in victims:
            wait_until(
                lambda v=victim: not v.is_running or world.over.is_set(),  # type: ignore[misc]
                within=90,
                what=f"{victim.name} ends, its engine being broken",
            )
        world.healed()
        for victim in victims:
            code = victim.wait(1)
            if code != ENGINE_BROKEN:
                raise RuntimeError(f"{victim.name} ended with {code}, not 5: {last_words(victim)}")
            world.fleet.forget(victim)
            world.fleet.add()
        wait_all_ready(world.fleet, world.over)


class EngineOutOfMemory:
    """The device of one consumer has memory for two images a batch, for some seconds: batches get smaller, no more."""

    name = "engine out of memory"
    settings: Mapping[str, Mapping[str, Any]] = {}
    needs: frozenset[str] = frozenset()

    def strike(self, world: World, rng: random.Random) -> None:
        victim = rng.choice(world.fleet.running)
        world.note(f"the device of {victim.name} has memory for two images")
        switch = _switch(world, victim.process_id)
        switch.write_text("memory")
        world.wait(rng.uniform(SHORTEST, LONGEST))
        switch.unlink()


ENGINE_FAULTS = (EngineFails("engine raises", "raise"), EngineFails("engine hangs", "hang"), EngineOutOfMemory())


class PartitionsAdded:
    """All three topics get partitions while jobs flow, and jobs go there at once."""

    name = "partitions added"
    # librdkafka looks for them every five minutes by default.
    settings: Mapping[str, Mapping[str, Any]] = {"kafka": {"extra": {"topic.metadata.refresh.interval.ms": 2000}}}
    needs: frozenset[str] = frozenset()

    def strike(self, world: World, rng: random.Random) -> None:
        before = world.facts.setdefault("partitions", world.topics.partitions)
        after = before + rng.randint(1, 3)
        world.note(f"partitions: {before} -> {after}")
        admin = AdminClient({"bootstrap.servers": world.topics.bootstrap_servers, "log_level": 0})
        wanted = [NewPartitions(topic, after) for topic in (*world.topics.outcomes, world.topics.jobs)]
        for added in admin.create_partitions(wanted, operation_timeout=30).values():
            added.result(30)
        world.facts["partitions"] = after
        world.widen(after)


TOPIC_FAULTS = (PartitionsAdded(),)


def _switch(world: World, process_id: int) -> Path:
    """The file that tests/faults/switched.py reads."""
    return Path(world.facts["switches"]) / str(process_id)
