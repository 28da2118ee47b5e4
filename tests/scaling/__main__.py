"""Does a plan hold? `python -m tests.scaling --write docs/scaling.md` runs one to four replicas and compares."""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from consumer.planning.measuring import measure
from consumer.planning.samples import rendered_samples
from consumer.settings import Settings
from tests.rigs.kafka import open_kafka
from tests.rigs.s3 import S3Server
from tests.scaling.comparison import Compared, compare, write
from tests.scaling.trial import Case, run

SIZE = (640, 480)
# With 4 places of a sleeping engine each replica does 40 images/s, for which two cores are no limit; then one of 160/s,
# and replicas with many places and few jobs in hand.
CASES = (
    *(Case("engine", replicas, places=4, seconds=0.1, max_in_flight=256) for replicas in (1, 2, 3, 4)),
    Case("engine", 1, places=16, seconds=0.1, max_in_flight=256),
    *(Case("jobs in hand", replicas, places=16, seconds=0.1, max_in_flight=8) for replicas in (1, 2)),
)


def main() -> int:
    """1 when a plan was further off than docs/scaling.md allows."""
    parser = argparse.ArgumentParser(prog="python -m tests.scaling", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into this page")
    arguments = parser.parse_args()
    rows = []
    for row in _compared():
        sys.stdout.write(row.line + "\n")
        sys.stdout.flush()
        rows.append(row)
    if arguments.write:
        write(rows, arguments.write)
    return 0 if all(row.is_close for row in rows) else 1


def _compared() -> Iterator[Compared]:
    samples = rendered_samples(SIZE)
    with open_kafka() as kafka, S3Server() as s3, tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            os.environ.update(case.environment)
            settings = Settings.model_validate(
                {"images": {"allowed_buckets": ["*"]}, "s3": {"endpoint_url": s3.endpoint_url}, **case.sections}
            )
            measured = measure(settings, samples)
            expected = compare(case, settings, measured, commit=0.05).planned
            seen = run(case, expected, samples, kafka, s3, Path(folder))
            yield compare(case, settings, measured, commit=seen.commit, seen=seen)


if __name__ == "__main__":
    sys.exit(main())
