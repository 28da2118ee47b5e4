"""consumer audit: every outcome in S3, and what can be asked of it."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from consumer.commands.audit_diff import diff
from consumer.commands.audit_explain import explain
from consumer.commands.audit_export import export
from consumer.commands.audit_query import query
from consumer.commands.audit_reconcile import reconcile
from consumer.commands.audit_replay import replay
from consumer.commands.audit_report import report
from consumer.commands.audit_verify import verify
from consumer.commands.frame import Running, run_process
from consumer.commands.selecting import audit_installed
from consumer.settings import Settings

app = typer.Typer(
    name="audit", help="Every outcome as Parquet in S3: write it, query it, prove it.", no_args_is_help=True
)


@app.command()
def run(
    settings: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Settings file; else CONSUMER_SETTINGS, else ./settings.yaml, else defaults."
        ),
    ] = None,
    *,
    until_caught_up: Annotated[
        bool, typer.Option("--until-caught-up", help="Stop with 0 when what is there at the start is written.")
    ] = False,
) -> None:
    """Write jobs, results and dead letters to `audit.bucket` until SIGTERM; a second signal stops at once.

    Several auditors share the partitions. Files cover ranges of offsets without gap or overlap, whatever dies.

    Exit codes: 0 done, 1 what lies in the bucket is not this log, 2 settings, topics, bucket, credentials or rights,
    3 broker or store not reachable, 70 a bug, 128+n stopped by a second signal.

    Example: consumer audit run --settings settings.yaml
    """
    run_process(settings, partial(_build, until_caught_up=until_caught_up), inspects=False)


def _build(settings: Settings, *, until_caught_up: bool) -> Running:
    with audit_installed():
        from consumer.auditing.process import AuditProcess
    return AuditProcess(settings, until_caught_up=until_caught_up)


for command in (query, explain, report, reconcile, verify, replay, diff, export):
    app.command()(command)
