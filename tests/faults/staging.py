"""What is set up for one run of a cell: topics, images, consumers, jobs, a reader that watches?"""

import threading
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from consumer.demo.parts import encode, render_part
from tests.faults.cells import Cell, merged
from tests.faults.fleet import Replicas
from tests.faults.history import History
from tests.faults.jobs import GRACE, Jobs, Wrong, put_images
from tests.faults.servers import Brokers
from tests.faults.switched import FOLDER
from tests.faults.traffic import Traffic
from tests.faults.witness import Witness
from tests.faults.world import World
from tests.rigs.kafka_jars import ROOT
from tests.rigs.s3 import S3Server
from tests.rigs.s3_proxy import S3Proxy
from tests.rigs.topics import Topics, create_topics, delete_topics

WEIGHTS = ROOT / "consumer/demo/weights/parts-yolo26n.onnx"
DEMO = {"engine": "auto", "device": "cpu", "weights": str(WEIGHTS)}
SWITCHED = {"engine": "tests.faults.switched:switched_engine"}
LINE = 20_261  # a line of parts that no training saw
PARTS = 10


@dataclass
class Stage:
    """Everything runs; no job was published yet."""

    world: World
    traffic: Traffic
    witness: Witness
    fleet: Replicas
    widened_at: int | None = None
    """How many processes had been started when partitions were added first."""

    @property
    def may_move(self) -> bool:
        """Whether outcomes of added partitions may lie on two output partitions: processes started since."""
        return self.widened_at is not None and self.fleet.started > self.widened_at

    def widen(self, partitions: int) -> None:
        self.witness.widen(partitions)
        self.traffic.partitions = partitions
        if self.widened_at is None:
            self.widened_at = self.fleet.started


def open_stage(
    cell: Cell,
    protocol: str,
    *,
    store: S3Server,
    brokers: Brokers,
    history: History,
    over: threading.Event,
    stack: ExitStack,
) -> Stage:
    """Everything ends with `stack`. To be called by the thread that stays: processes end with the one that started
    them."""
    name = f"{cell.name}-{protocol}-{uuid.uuid4().hex[:8]}"
    topics = create_topics(brokers.bootstrap_servers, name, partitions=cell.partitions)
    stack.callback(delete_topics, topics)
    proxy = stack.enter_context(S3Proxy(store)) if "s3_proxy" in cell.needs else None
    store.create_bucket(name)
    jobs = _jobs(cell, store, name)
    switches = history.folder / "switches"
    switches.mkdir()
    environment = {**store.environment, FOLDER: str(switches)}
    endpoint_url = proxy.endpoint_url if proxy else store.endpoint_url
    settings = _settings(cell, protocol, topics, brokers, endpoint_url, name)
    fleet = Replicas(history.folder, settings, environment, history.note, has_slots=cell.has_slots)
    stack.enter_context(fleet)
    world = World(
        topics=topics,
        protocol=protocol,
        session_timeout=cell.session_timeout(protocol),
        fleet=fleet,
        store=store,
        s3_proxy=proxy,
        cluster=brokers.cluster,
        kafka_proxy=brokers.proxy,
        over=over,
        replicas=cell.replicas,
        note=history.note,
        facts={"switches": switches, "keys": jobs.keys},
    )
    for _ in range(cell.replicas):
        fleet.add()
    fleet.wait_ready()
    traffic = Traffic(topics, jobs.draft, outcomes=lambda: witness.count)
    witness = Witness(topics, partial(_waiting, traffic))
    stack.enter_context(witness)
    stack.enter_context(traffic)
    stage = Stage(world, traffic, witness, fleet)
    world.widen = stage.widen
    return stage


def _waiting(traffic: Traffic, outcomes: Mapping[int, int]) -> set[int]:
    return {partition for partition, count in dict(traffic.counts).items() if count > outcomes.get(partition, 0)}


def _settings(
    cell: Cell, protocol: str, topics: Topics, brokers: Brokers, endpoint_url: str, bucket: str
) -> dict[str, Any]:
    """A consumer's; what the cell's faults ask for goes first."""
    usual = {
        "kafka": {"bootstrap_servers": brokers.consumers_see},
        "s3": {"endpoint_url": endpoint_url},
        "images": {"allowed_buckets": [bucket], "not_found_grace": GRACE},
        "model": DEMO if cell.model == "demo" else SWITCHED,
    }
    return merged(merged(topics.settings, usual), cell.settings(protocol))


def _jobs(cell: Cell, store: S3Server, bucket: str) -> Jobs:
    if cell.model == "stand-in":
        return Jobs(bucket, put_images(store, bucket))
    keys = [f"part-{number}.jpg" for number in range(PARTS)]
    for number, key in enumerate(keys):
        store.put(bucket, key, encode(render_part(LINE, number), "jpg"))
    return Jobs(bucket, keys, wrongs=tuple(wrong for wrong in Wrong if wrong is not Wrong.RED))
