"""Which servers are the programs timed on? A real Kafka, a real S3, and proxies that stand for the way there."""

import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from benchmarks import workload
from benchmarks.processes import child_with
from benchmarks.workload import Workload
from consumer.demo.ports import free_port
from consumer.leash import kill, spawn
from tests.rigs.deadline import wait_until
from tests.rigs.kafka import Kafka, open_kafka
from tests.rigs.s3 import S3Server

BUCKET = "bench"


class Servers:
    """One Kafka and one store for a whole run."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self._folder = folder
        self._cache = cache
        self._stack = ExitStack()
        self._proxies: dict[float, tuple[str, int]] = {}
        self._there: set[str] = set()

    def __enter__(self) -> Self:
        self.kafka: Kafka = self._stack.enter_context(open_kafka())
        self.store = self._stack.enter_context(S3Server())
        self.store.create_bucket(BUCKET)
        self.broker = child_with("kafka.Kafka")
        """Its process, None where the Kafka is somebody else's."""
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def keys(self, images: Workload) -> list[str]:
        """The objects of a workload; they are put there at the first call."""
        folder = workload.write(images, self._cache)
        files = sorted(folder.iterdir())
        if images.name not in self._there:
            for file in files:
                self.store.put(BUCKET, f"{images.name}/{file.name}", file.read_bytes())
            self._there.add(images.name)
        return [f"{images.name}/{file.name}" for file in files]

    def folder(self, images: Workload) -> Path:
        return workload.write(images, self._cache)

    def endpoint(self, round_trip: float | None) -> tuple[str, int | None]:
        """The store's URL and the process of the proxy before it; None means the store itself."""
        if round_trip is None:
            return self.store.endpoint_url, None
        if round_trip not in self._proxies:
            self._proxies[round_trip] = self._open_proxy(round_trip)
        return self._proxies[round_trip]

    def _open_proxy(self, round_trip: float) -> tuple[str, int]:
        port, upstream = free_port(), urlsplit(self.store.endpoint_url).port
        command = [sys.executable, "-m", "benchmarks.delay", str(port), str(upstream), str(round_trip)]
        process = spawn(command, log=self._folder / f"delay-{port}.log", folder=Path(__file__).parents[1])
        self._stack.callback(kill, process)

        def is_open() -> bool:
            with socket.socket() as door:
                return door.connect_ex(("127.0.0.1", port)) == 0

        wait_until(is_open, within=10, what="the delaying proxy listens")
        return f"http://127.0.0.1:{port}", process.pid
