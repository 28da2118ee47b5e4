"""What does the audit say of a run of the demo?"""

import time
from collections import Counter
from pathlib import Path

from consumer.demo.replica import Replica
from consumer.demo.show import Show
from consumer.errors import CheckFailed
from consumer.showcase.surroundings import Surroundings

_LOOK_EVERY = 0.05
_TIME = 60.0
_PICTURES = 24


def audit(around: Surroundings, folder: Path, page: Path, show: Show) -> None:
    """A real auditor writes all that lies on the topics to the bucket, and what it wrote is reconciled and becomes a
    page. Raises CheckFailed, also where a job has not just one outcome."""
    # Here, not above: what reads Parquet takes its time, and is not in every installation.
    from consumer.audit.query import chosen
    from consumer.audit.reconcile import Asked, reconcile
    from consumer.audit.selection import Selection
    from consumer.auditing.paper import Paper, write_report
    from consumer.auditing.place import open_library

    topics = around.settings.topics
    outcomes = (topics.results, topics.dead_letters)
    with show.phase("auditing", "every job and outcome written to S3 as Parquet", 1) as advance:
        _run_auditor(around, folder)
        advance()
    library = open_library(around.settings)
    told = reconcile(library, Asked(topics.jobs, outcomes))
    repeats = told.found.get("duplicate", 0)
    if not told.is_proven and set(told.found) != {"duplicate"}:
        raise CheckFailed(f"the audit does not prove that each job has one outcome: {told.findings[0].message}")
    so = f"but {repeats} that were delivered twice" if repeats else "nothing is missing, nothing twice"
    show.say(f"{'':8} reconciled: {told.jobs} jobs, {told.results} results, {told.dead_letters} dead letters, {so}")
    rows = chosen(library, outcomes, Selection())
    write_report(
        page, rows, Paper("Audit of the demo", library.shelf.name, "recent", _PICTURES), around.settings, Counter()
    )


def _run_auditor(around: Surroundings, folder: Path) -> None:
    command = ("audit", "run", "--until-caught-up")
    with Replica("the auditor", around.settings_file, log=folder / "auditor.log", command=command) as auditor:
        end = time.monotonic() + _TIME
        while not auditor.has_done():
            if time.monotonic() > end:
                raise CheckFailed(f"the auditor has not written everything after {_TIME:g} s")
            time.sleep(_LOOK_EVERY)
