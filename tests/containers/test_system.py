"""Does the system of docker-compose.kafka.yml keep the promises while its containers are killed and restarted?"""

import time
from collections.abc import Callable

import pytest
import yaml

from tests.containers.system import System
from tests.rigs.deadline import wait_until
from tests.rigs.jobs import job
from tests.rigs.outcomes import judge
from tests.rigs.prometheus import RULES

pytestmark = pytest.mark.containers

SAMPLES = 100  # what docker-compose.kafka.yml renders
JOBS = 1000
RULE_NAMES = {
    rule.get("record") or rule["alert"]
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
}
_WITHIN = 240  # seconds; a killed owner's open transaction holds its partitions up for one of them


@pytest.fixture(scope="module", autouse=True)
def _published(system: System) -> None:
    """The images are in the bucket by the README's own second command."""
    system.compose_run("run", "--rm", "consumer", "publish", "/samples", "--to", "s3://parts/line-1/", "--wait")


def jobs(count: int) -> list[bytes]:
    return [job("parts", f"line-1/{number % SAMPLES:05}.jpg") for number in range(count)]


def test_what_was_published_can_be_seen_by_the_third_command_of_the_readme(system: System) -> None:
    tail = ("results", "tail", "--since", "earliest", "--until-end", "--count", str(SAMPLES))

    assert system.compose_run("run", "--rm", "--no-deps", "consumer", *tail).count("s3://parts/line-1/") == SAMPLES


def test_every_container_that_we_built_is_confined(system: System) -> None:
    names = [str(one.Name) for one in system.compose.get_containers() if one.Service in ("consumer", "auditor")]
    wanted = "true [ALL] [no-new-privileges:true] 10001:10001"

    assert names
    for name in names:
        form = "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{.Config.User}}"
        assert system.docker("inspect", "--format", form, name).strip() == wanted


def test_what_watches_is_confined_and_has_its_volume_alone_to_write_to(system: System) -> None:
    (name,) = system.replicas("prometheus")
    form = "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}"
    mounts = "{{range .Mounts}}{{if .RW}}{{.Type}} {{.Destination}}{{end}}{{end}}"

    assert system.docker("inspect", "--format", form, name).strip() == "true [ALL] [no-new-privileges:true]"
    assert system.docker("inspect", "--format", mounts, name).strip() == "volume /prometheus"
    assert system.docker("top", name, "-o", "pid,uid").split()[-1] == "65534"


def test_nothing_is_published_beyond_this_machine(system: System) -> None:
    addresses = {
        publisher.URL
        for one in system.compose.get_containers()
        for publisher in one.Publishers or ()
        if publisher.PublishedPort
    }

    assert addresses == {"127.0.0.1"}


def test_killed_restarted_and_stopped_containers_lose_and_double_nothing(system: System) -> None:
    with system.reader() as reader:
        before = len(reader.read_to_end())

        def when(share: float) -> None:
            reader.read_until(lambda seen: len(seen) >= before + share * JOBS, within=_WITHIN)

        system.topics.publish(jobs(JOBS))
        when(0.05)
        system.scale(3)
        first, second, third = system.replicas()
        system.topics.publish(jobs(JOBS))

        when(0.4)
        system.docker("kill", "--signal", "KILL", first)
        when(0.6)
        system.compose_run("restart", "broker")
        when(1.2)
        began = time.monotonic()
        system.docker("stop", "--time", "30", second)
        print(f"drained in {time.monotonic() - began:.1f} s")  # noqa: T201  # docs/containers.md quotes it

        seen = reader.read_count(before + 2 * JOBS, within=_WITHIN)
        verdict = judge(system.jobs(), seen)
    assert verdict.is_clean, verdict
    assert [outcome.reason for outcome in seen if outcome.reason] == []
    assert system.state(first)["ExitCode"] == 137
    assert (system.state(second)["ExitCode"], system.state(second)["OOMKilled"]) == (0, False)
    assert (system.state(third)["Running"], system.state(third)["OOMKilled"]) == (True, False)


def test_a_replica_without_memory_harms_no_other(system: System) -> None:
    """The kernel ends whom its score names: here the consumer itself, as if an image were too large for its limit."""
    system.scale(2)
    victim, other = system.replicas()[-2:]
    started = system.state(other)["StartedAt"]
    system.docker("update", "--restart", "no", victim)
    greedy = "open('/proc/1/oom_score_adj', 'w').write('1000'); held = [bytearray(1 << 26) for _ in range(64)]"
    with system.reader() as reader:
        before = len(reader.read_to_end())
        system.topics.publish(jobs(JOBS))
        reader.read_until(lambda seen: len(seen) > before, within=_WITHIN)

        with pytest.raises(AssertionError, match="137"):
            system.docker("exec", victim, "python", "-c", greedy)
        wait_until(lambda: not system.state(victim)["Running"], within=30, what="the kernel ends it")
        verdict = judge(system.jobs(), reader.read_count(before + JOBS, within=_WITHIN))

    assert verdict.is_clean, verdict
    assert (system.state(victim)["OOMKilled"], system.state(victim)["ExitCode"]) == (True, 137)
    assert (system.state(other)["Running"], system.state(other)["StartedAt"]) == (True, started)


def test_the_auditor_has_it_all(system: System) -> None:
    """Written by a process of its own, through everything above; open jobs would be findings."""
    wait_until(reconciled(system), within=_WITHIN, what=lambda: system.compose_run("logs", "--tail", "50", "auditor"))


def reconciled(system: System) -> Callable[[], bool]:
    return lambda: system.compose_attempt("run", "--rm", "--no-deps", "auditor", "audit", "reconcile") == 0


def test_prometheus_finds_every_replica_and_evaluates_every_rule(system: System) -> None:
    """As `up` started it: found by DNS, by the mounted configuration; the last test, for it leaves jobs undone."""
    prometheus = system.prometheus()
    system.scale(3)
    consumers = [system.address(name) for name in system.replicas()]
    system.topics.publish(jobs(JOBS))

    def are_up(job: str, addresses: list[str]) -> bool:
        return prometheus.targets(job) == dict.fromkeys(addresses, "up")

    wait_until(
        lambda: are_up("consumer", consumers), within=60, what=lambda: f"{consumers}, {prometheus.targets('consumer')}"
    )
    assert are_up("auditor", [system.address(name) for name in system.replicas("auditor")])
    wait_until(lambda: prometheus.ask("inspection:throughput:rate5m > 0") != [], within=60, what="a rate")
    assert {rule["name"] for rule in prometheus.rules()} == RULE_NAMES
    assert [rule for rule in prometheus.rules() if rule["health"] != "ok"] == []
    assert prometheus.ask("count(inspection:audit_lag_seconds:max)") != []

    system.docker("kill", "--signal", "KILL", system.replicas()[0])
    wait_until(lambda: prometheus.targets("consumer").get(consumers[0]) != "up", within=60, what="the killed is not up")
    assert {address: prometheus.targets("consumer")[address] for address in consumers[1:]} == dict.fromkeys(
        consumers[1:], "up"
    )
