"""How is the fault matrix run by hand? `make faults`, or `python -m tests.faults --cell NAME --seed N --jobs N`."""

import argparse
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from tests.faults.cells import PROTOCOLS, Cell, cells, short_cells, slow_cells
from tests.faults.report import failure_of, row_of, versions, write
from tests.faults.servers import Servers
from tests.faults.trial import Report, Run, Trial
from tests.rigs.kafka import KafkaUnavailable
from tests.rigs.small_disk import DiskUnavailable


def main() -> int:
    """0 when every cell was clean, 1 when one was not."""
    arguments = _arguments()
    if arguments.list:
        _say("\n".join(f"{cell.name}: {', '.join(fault.name for fault in cell.faults)}" for cell in cells()))
        return 0
    _say(versions())
    failures = 0
    with Servers() as servers:
        for run in _runs(arguments):
            report = _report(run, servers)
            if report is None:
                failures += 1
                continue
            if arguments.write:
                write([report], arguments.write)
            if report.judgement.is_clean:
                report.history.discard()
            else:
                failures += 1
                _say(failure_of(report))
    return 1 if failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    names = [cell.name for cell in _all_cells()]
    parser.add_argument(
        "--cell", action="append", choices=names, metavar="NAME", help="may be given again; all of them"
    )
    parser.add_argument("--protocol", choices=PROTOCOLS, help="one after the other")
    parser.add_argument("--seed", type=int, action="append", help="what is struck when; 1, may be given again")
    parser.add_argument("--jobs", type=int, default=100_000, help="a cell, at least; %(default)s")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the rows of the table into this page")
    parser.add_argument("--list", action="store_true", help="name the cells, run nothing")
    arguments = parser.parse_args()
    if arguments.write and not arguments.write.is_file():
        parser.error(f"--write: no page {arguments.write}")  # now, not after hours
    return arguments


def _runs(arguments: argparse.Namespace) -> Iterator[Run]:
    for cell in [cell for cell in _all_cells() if cell.name in arguments.cell] if arguments.cell else cells():
        for protocol in [arguments.protocol] if arguments.protocol else PROTOCOLS:
            for seed in arguments.seed or [1]:
                yield Run(cell, protocol, seed, arguments.jobs)


def _all_cells() -> list[Cell]:
    """Those of the tests too, since a failing one names this command."""
    return [*cells(), *(cell for cell, _ in (*short_cells(), *slow_cells()))]


def _report(run: Run, servers: Servers) -> Report | None:
    """None where it could not be run to its end, and says why: this machine cannot have what the cell needs, or the
    cell fell apart before there was anything to judge."""
    try:
        with servers.brokers(run.cell.needs) as brokers:
            report = Trial(run, servers.store, brokers).run()
    except (KafkaUnavailable, DiskUnavailable) as error:
        _say(f"{run.cell.name} {run.protocol}: not run, {error}")
        return None
    except Exception:  # noqa: BLE001  # the next cell may do better
        _say(f"{run.cell.name} {run.protocol}: RED, {traceback.format_exc()}\nrun it again: {run.command}")
        return None
    _say(" | ".join(row_of(report)))
    return report


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
