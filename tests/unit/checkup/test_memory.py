"""Memory and threads are what the container may have, and the sum of the settings is held against them."""

from pathlib import Path

import pytest

from consumer.checkup.memory import Demand, memory_limit, resident_memory, thread_limit


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def test_without_a_cgroup_the_machine_is_the_limit(tmp_path: Path) -> None:
    write(tmp_path, {"proc/meminfo": "MemTotal:       1024 kB\nMemFree:        1 kB"})
    assert memory_limit(tmp_path) == 2**20
    assert thread_limit(tmp_path) is None


def test_where_nobody_says_there_is_no_limit_and_no_number(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) is None
    assert resident_memory(tmp_path) is None


@pytest.mark.parametrize(("text", "limit"), [("max", 2**30), ("536870912", 2**29), ("9223372036854771712", 2**30)])
def test_a_limit_of_cgroup_v2_counts_when_it_is_one(tmp_path: Path, text: str, limit: int) -> None:
    write(tmp_path, {"proc/meminfo": "MemTotal: 1048576 kB", "sys/fs/cgroup/memory.max": text})
    assert memory_limit(tmp_path) == limit


@pytest.mark.parametrize(("text", "limit"), [("9223372036854771712", 2**30), ("536870912", 2**29)])
def test_a_limit_of_cgroup_v1_counts_when_it_is_one(tmp_path: Path, text: str, limit: int) -> None:
    files = {
        "proc/meminfo": "MemTotal: 1048576 kB",
        "proc/self/cgroup": "4:memory:/docker/4711\n3:cpu:/elsewhere",
        "sys/fs/cgroup/memory/docker/4711/memory.limit_in_bytes": text,
        "sys/fs/cgroup/memory/elsewhere/memory.limit_in_bytes": "1",
    }
    write(tmp_path, files)
    assert memory_limit(tmp_path) == limit


def test_the_least_of_the_enclosing_groups_counts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/pod/container",
        "sys/fs/cgroup/pod/container/memory.max": "2000",
        "sys/fs/cgroup/pod/memory.max": "1000",
        "sys/fs/cgroup/pod/pids.max": "300",
        "sys/fs/cgroup/pod/container/pids.max": "max",
    }
    write(tmp_path, files)
    assert (memory_limit(tmp_path), thread_limit(tmp_path)) == (1000, 300)


def test_a_demand_counts_one_largest_image_for_each_core_at_the_most_and_one_at_the_least() -> None:
    demand = Demand(resident=1000, fetched=200, images=4, image=30, slots=7)
    assert (demand.most, demand.least) == (1327, 1237)


def test_this_process_is_in_memory() -> None:
    resident = resident_memory()
    assert resident is None or 2**20 < resident < 2**40
