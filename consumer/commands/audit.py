"""consumer audit: every outcome in S3, and what can be asked of it."""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from consumer import logs
from consumer.commands.audit_diff import diff
from consumer.commands.audit_explain import explain
from consumer.commands.audit_export import export
from consumer.commands.audit_query import query
from consumer.commands.audit_reconcile import reconcile
from consumer.commands.audit_replay import replay
from consumer.commands.audit_report import report
from consumer.commands.audit_verify import verify
from consumer.errors import SettingsError
from consumer.settings import LoggingSettings, load

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
    try:
        loaded = load(settings, inspects=False)
        logs.configure(loaded.logging)
        try:
            from consumer.auditing.process import AuditProcess
        except ModuleNotFoundError as error:
            if error.name not in ("polars", "cryptography"):
                raise
            raise SettingsError(f"{error.name} is not installed: pip install 'inspection-consumer[audit]'") from error
    except SettingsError as error:
        logs.configure(LoggingSettings())
        logging.getLogger(__name__).error("%s", error, extra={"exit_code": error.exit_code})  # noqa: TRY400  # one line
        raise typer.Exit(error.exit_code) from None
    code = AuditProcess(loaded, until_caught_up=until_caught_up).main()
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


for command in (query, explain, report, reconcile, verify, replay, diff, export):
    app.command()(command)
