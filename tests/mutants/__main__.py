"""Which test notices when a guard is taken out: `python -m tests.mutants [--guard NAME] [--protocol classic]`."""

import argparse
import fnmatch
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.bench import ROOT, Bench, BenchError, Finding
from tests.mutants.guard import PROTOCOLS, UNIT, WITHOUT_BROKER, Guard
from tests.mutants.page import write
from tests.mutants.table import GUARDS
from tests.rigs.kafka import open_kafka

ALL = (*PROTOCOLS, WITHOUT_BROKER)


@dataclass(frozen=True)
class Case:
    """One guard taken out, under one client protocol."""

    guard: Guard
    protocol: str

    @property
    def ids(self) -> list[str]:
        return self.guard.ids(self.protocol)

    @property
    def needs_kafka(self) -> bool:
        return any(not test.startswith(f"{UNIT}/") for test in self.ids)


def main(arguments: Sequence[str]) -> int:
    """1 when a guard's absence goes unnoticed, 2 when nothing could be found out."""
    options = _options(arguments)
    cases = [
        Case(guard, protocol)
        for guard in GUARDS
        for protocol in guard.cases()
        if any(fnmatch.fnmatch(guard.name, pattern) for pattern in options.guard) and protocol in options.protocol
    ]
    if not cases:
        _say(f"no guard is named {', '.join(options.guard)}: {', '.join(guard.name for guard in GUARDS)}")
        return 2
    try:
        found = _find(cases, workers=options.workers, check=not options.unchecked)
    except BenchError as error:
        _say(f"error: {error}")
        return 2
    survived = [case for case, finding in found if finding.failed is None]
    _say(f"{len(found)} cases, {len(survived)} survived")
    if {case.guard for case in cases} == set(GUARDS) and set(options.protocol) == set(ALL):
        write(Path(ROOT / "docs" / "guards.md"), [(case.guard, case.protocol, finding) for case, finding in found])
    return 1 if survived else 0


def _find(cases: Sequence[Case], *, workers: int, check: bool) -> list[tuple[Case, Finding]]:
    with ExitStack() as stack:
        kafka = None
        if any(case.needs_kafka for case in cases):
            kafka = stack.enter_context(open_kafka()).bootstrap_servers
        benches: SimpleQueue[Bench] = SimpleQueue()
        for _ in range(workers):
            benches.put(stack.enter_context(Bench()))
        pool = stack.enter_context(ThreadPoolExecutor(workers))

        def examine(case: Case) -> tuple[Case, Finding]:
            bench = benches.get()
            try:
                with bench.without(case.guard.edits):
                    return case, bench.run(case.ids, protocol=case.protocol, kafka=kafka)
            finally:
                benches.put(bench)

        if check:
            bench = benches.get()
            _check(bench, cases, kafka)
            benches.put(bench)
        found = []
        for case, finding in pool.map(examine, cases):
            found.append((case, finding))
            verdict = f"caught by {finding.failed}" if finding.failed else "SURVIVED"
            _say(f"{case.guard.name:32} {case.protocol:8} {finding.seconds:5.1f} s  {verdict}")
        return found


def _check(bench: Bench, cases: Sequence[Case], kafka: str | None) -> None:
    """A test that fails by itself notices nothing. Raises BenchError for such."""
    for protocol in ALL:
        ids = sorted({test for case in cases if case.protocol == protocol for test in case.ids})
        if not ids:
            continue
        finding = bench.run(ids, protocol=protocol, kafka=kafka, all_of_them=True)
        if finding.failed:  # what fails twice is no accident of a busy machine
            _say(f"once more: {' '.join(finding.failed.splitlines())}")
            finding = bench.run(finding.failed.splitlines(), protocol=protocol, kafka=kafka, all_of_them=True)
        if finding.failed:
            raise BenchError(f"these fail although all guards are in place:\n{finding.failed}")
        _say(f"{'with all guards in place':32} {protocol:8} {finding.seconds:5.1f} s  all {len(ids)} tests pass")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--guard", nargs="+", default=["*"], metavar="NAME", help="these guards alone; * and ? match")
    parser.add_argument("--protocol", nargs="+", default=ALL, choices=ALL, help="of the group; - is without a broker")
    parser.add_argument("--workers", type=int, default=2, help="so many guards at a time are out, each in its own copy")
    parser.add_argument("--unchecked", action="store_true", help="do not run the tests with all guards in place first")
    return parser.parse_args(arguments)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # a command's output


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
