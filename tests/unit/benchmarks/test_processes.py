"""Is what the kernel says of processes read rightly?"""

import os
import subprocess
import sys

from benchmarks.processes import below, child_with, cpu_of, parse

STAT = "42 (a (strange) name) S 7 42 42 0 -1 4194304 1 0 0 0 150 50 30 20 20 0 9 0 100 9000 256 1 1 1"


def test_a_process_name_may_hold_anything() -> None:
    process = parse(STAT)

    assert (process.number, process.parent) == (42, 7)
    assert process.cpu == 250 / os.sysconf("SC_CLK_TCK")
    assert process.rss == 256 * os.sysconf("SC_PAGE_SIZE")


def test_children_count_with_their_parent_and_are_found_by_a_word() -> None:
    program = "import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program, "benchmark-word"], stdin=subprocess.PIPE) as child:
        assert child_with("benchmark-word") == child.pid
        assert child.pid in {process.number for process in below([os.getpid()])}
        assert cpu_of([os.getpid()]) >= cpu_of([child.pid])
        child.communicate()
