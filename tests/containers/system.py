"""How do the tests drive docker-compose.kafka.yml, and what do they ask of its containers?"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from testcontainers.compose import DockerCompose

from consumer.demo.ports import free_port
from tests.containers.engine import attempt, run
from tests.containers.images import Images
from tests.rigs.kafka_jars import ROOT
from tests.rigs.outcomes import OutcomeReader, Source
from tests.rigs.prometheus import PrometheusApi
from tests.rigs.topics import Topics

PARTITIONS = 12
_UP_SECONDS = 300


@dataclass(frozen=True)
class System:
    """A project of Compose that is up; `topics` and the outcomes are reached through its published port."""

    client: str
    compose: DockerCompose
    topics: Topics

    def compose_run(self, *arguments: str, within: float = _UP_SECONDS) -> str:
        return run([*self.compose.docker_compose_command(), *arguments], within=within)

    def compose_attempt(self, *arguments: str, within: float = _UP_SECONDS) -> int:
        return attempt([*self.compose.docker_compose_command(), *arguments], within=within).returncode

    def docker(self, *arguments: str, within: float = 120) -> str:
        return run([self.client, *arguments], within=within)

    def scale(self, replicas: int) -> None:
        """Have so many running consumers; returns when all are healthy."""
        self.compose_run("up", "--detach", "--wait", "--no-recreate", "--scale", f"consumer={replicas}", "consumer")

    def replicas(self, service: str = "consumer") -> list[str]:
        """The names of the containers of a service that run, the oldest first."""
        return sorted(str(one.Name) for one in self.compose.get_containers() if one.Service == service)

    def address(self, container: str) -> str:
        """Where its pages are within the project's network: host:port."""
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return f"{self.docker('inspect', '--format', form, container).strip()}:8080"

    def prometheus(self) -> PrometheusApi:
        """As a person on this machine reaches it: by the published port."""
        return PrometheusApi("{}:{}".format(*self.compose.get_service_host_and_port("prometheus", 9090)))

    def state(self, container: str) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.docker("inspect", "--format", "{{json .State}}", container))
        return state

    def reader(self) -> OutcomeReader:
        return OutcomeReader(self.topics.bootstrap_servers, self.topics.outcomes)

    def jobs(self) -> list[Source]:
        """All jobs that were ever published, by whomever."""
        asker = Consumer({"bootstrap.servers": self.topics.bootstrap_servers, "group.id": "nobody"})
        try:
            ends = {
                partition: asker.get_watermark_offsets(TopicPartition(self.topics.jobs, partition), timeout=10)[1]
                for partition in range(PARTITIONS)
            }
        finally:
            asker.close()
        return [Source(self.topics.jobs, partition, offset) for partition, end in ends.items() for offset in range(end)]


@contextmanager
def open_system(client: str, images: Images, folder: Path) -> Iterator[System]:
    """`docker compose up` as the README says it, on ports of its own; everything is gone afterwards."""
    kafka_port, store_port = free_port(), free_port()
    settings = folder / "tests.env"
    settings.write_text(
        f"COMPOSE_PROJECT_NAME=inspection-tests-{kafka_port}\nKAFKA_PORT={kafka_port}\nSTORE_PORT={store_port}\n"
        f"PROMETHEUS_PORT={free_port()}\nGRAFANA_PORT={free_port()}\nAUDIT_MAX_AGE=5\nPARTITIONS={PARTITIONS}\n"
    )
    files = ["docker-compose.kafka.yml", *(["tests/containers/compose.local.yml"] if images.is_local else [])]
    compose = DockerCompose(
        context=ROOT, compose_file_name=files, env_file=[".env", str(settings)], docker_command_path=client
    )
    names = Topics(
        bootstrap_servers=f"localhost:{kafka_port}",
        jobs="inspection.jobs",
        results="inspection.results",
        dead_letters="inspection.dead-letters",
        group="inspection",
        partitions=PARTITIONS,
    )
    with compose:
        yield System(client, compose, names)
