"""Cores are what the container may use, not what the machine has."""

import os
from pathlib import Path

import pytest

from consumer.cores import available_cores


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def test_without_a_cgroup_the_affinity_counts(tmp_path: Path) -> None:
    assert available_cores(tmp_path) == 8


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 8), ("50000 100000", 1), ("150000 100000", 2), ("9900000 100000", 8)]
)
def test_a_quota_of_cgroup_v2_is_rounded_up(tmp_path: Path, quota: str, cores: int) -> None:
    write(tmp_path, **{"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": quota})
    assert available_cores(tmp_path) == cores


def test_a_quota_of_an_enclosing_group_counts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/pod/container",
        "sys/fs/cgroup/pod/container/cpu.max": "max 100000",
        "sys/fs/cgroup/pod/cpu.max": "300000 100000",
    }
    write(tmp_path, **files)
    assert available_cores(tmp_path) == 3


@pytest.mark.parametrize("controller", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize("group", ["", "docker/4711"])
@pytest.mark.parametrize(("quota", "cores"), [("-1", 8), ("250000", 3)])
def test_a_quota_of_cgroup_v1_is_found(tmp_path: Path, controller: str, group: str, quota: str, cores: int) -> None:
    folder = f"sys/fs/cgroup/{controller}/{group}"
    files = {
        "proc/self/cgroup": f"11:memory:/elsewhere\n4:cpu,cpuacct:/{group}",
        f"{folder}/cpu.cfs_quota_us": quota,
        f"{folder}/cpu.cfs_period_us": "100000",
    }
    write(tmp_path, **files)
    assert available_cores(tmp_path) == cores


def test_a_container_that_sees_its_group_as_the_root_finds_its_quota(tmp_path: Path) -> None:
    write(tmp_path, **{"proc/self/cgroup": "0::/docker/4711", "sys/fs/cgroup/cpu.max": "200000 100000"})
    assert available_cores(tmp_path) == 2


def test_this_machine_has_a_core() -> None:
    assert available_cores() >= 1
