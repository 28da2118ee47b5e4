"""What does the audit say of a run of the demo?"""

import time
from collections.abc import Iterator
from pathlib import Path

from consumer.demo.replica import Replica
from consumer.demo.show import Show
from consumer.errors import CheckFailed
from consumer.showcase.surroundings import Surroundings

_LOOK_EVERY = 0.05
_TIME = 60.0


def audit(around: Surroundings, folder: Path, show: Show) -> None:
    """A real auditor writes everything that lies on the topics to the bucket. Raises CheckFailed."""
    with (
        show.phase("auditing", "every job and outcome written to S3 as Parquet", 1) as advance,
        Replica(
            "the auditor",
            around.settings_file,
            log=folder / "auditor.log",
            command=("audit", "run", "--until-caught-up"),
        ) as auditor,
    ):
        end = time.monotonic() + _TIME
        while not auditor.has_done():
            if time.monotonic() > end:
                raise CheckFailed(f"the auditor has not written everything after {_TIME:g} s")
            time.sleep(_LOOK_EVERY)
        advance()


def audit_keys(around: Surroundings) -> Iterator[str]:
    """The keys of all that the auditor wrote."""
    from consumer.auditing.place import open_library  # behind an extra

    library = open_library(around.settings)
    for path, _ in library.shelf.objects(""):
        yield f"{around.settings.audit.prefix}/{path}"
