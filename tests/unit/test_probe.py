"""Does a container's health check tell a living process from one that is not?"""

import json
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Gauge

from consumer import probe
from consumer.demo.ports import free_port
from consumer.health import Health, HealthServer
from consumer.settings import HttpSettings


class Numbers:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.ready = Gauge("ready", "ready", registry=self.registry)


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    free = free_port()
    monkeypatch.setenv("CONSUMER__HTTP__PORT", str(free))
    return free


@pytest.fixture
def health(port: int) -> Iterator[Health]:
    numbers = Numbers()
    health = Health(numbers, ("store",))
    with HealthServer(HttpSettings(port=port), health, numbers):
        yield health


def test_a_process_that_lives_is_alive_while_it_is_not_ready(
    health: Health, capsys: pytest.CaptureFixture[str]
) -> None:
    assert probe.main([]) == 0
    assert probe.main(["/readyz"]) == 1

    status, page = capsys.readouterr().out.splitlines()[1].split(" ", 1)
    assert (status, json.loads(page)) == ("503", {"store": "starting"})


def test_a_process_that_is_ready_is_so(health: Health) -> None:
    health.set("store", None)

    assert probe.main(["/readyz"]) == 0


def test_nobody_is_no_living_process(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert probe.main([]) == 1
    assert "refused" in capsys.readouterr().out
