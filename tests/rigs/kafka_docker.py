"""Can Docker run the Kafka of the tests, where there is no Java?"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from consumer.demo.ports import free_port
from tests.rigs.kafka_jars import kafka_version
from tests.rigs.kafka_node import Ports, node_settings

_PULL_SECONDS = 90


def docker_image() -> str:
    return f"apache/kafka:{kafka_version()}"


def missing_docker() -> str | None:
    """Return why Docker cannot run the image here, or None when it can; pulls it where it is not local."""
    image = docker_image()
    if shutil.which("docker") is None:
        return "docker is not on the PATH"
    if not _succeeds("info"):
        return "no Docker engine answers"
    if _succeeds("image", "inspect", image) or _succeeds("pull", "--quiet", image, within=_PULL_SECONDS):
        return None
    return f"the image {image} is not here and could not be pulled in {_PULL_SECONDS} s"


@contextmanager
def docker_broker() -> Iterator[str]:
    """Run one node in a container and give its address; it may not yet answer."""
    from testcontainers.core.container import DockerContainer  # slow to import, seldom needed

    ports = Ports(free_port(), free_port())
    container = DockerContainer(docker_image()).with_bind_ports(ports.broker, ports.broker)
    for key, value in node_settings(0, [ports], bind="0.0.0.0").items():
        container.with_env("KAFKA_" + key.upper().replace(".", "_"), value)
    with container:
        yield f"127.0.0.1:{ports.broker}"


def _succeeds(*arguments: str, within: float = 20) -> bool:
    try:
        done = subprocess.run(["docker", *arguments], capture_output=True, timeout=within, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
