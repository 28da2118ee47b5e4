"""`consumer` on the command line, `python -m consumer` too."""

import io
import sys
from typing import Annotated

import typer

from consumer.commands import (
    audit,
    config,
    deadletters,
    demo,
    detect,
    doctor,
    model,
    plan,
    publish,
    results,
    run,
    status,
    topics,
    version,
)

app = typer.Typer(
    name="consumer",
    help="Inspection jobs from Kafka, images from S3, batched YOLO inference, exactly one outcome per job.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(run.run)
app.command()(publish.publish)
app.add_typer(topics.app)
app.command()(doctor.doctor)
app.command()(status.status)
app.add_typer(results.app)
app.add_typer(deadletters.app)
app.add_typer(audit.app)
app.add_typer(config.app)
app.command()(detect.detect)
app.command()(plan.plan)
app.add_typer(model.app)
app.add_typer(demo.app)


@app.callback()
def consumer(
    *,
    is_version_asked: Annotated[  # its callback has printed it
        bool,
        typer.Option(
            "--version",
            callback=version.print_versions,
            is_eager=True,
            help="Print the versions that matter and the digest of the weights.",
        ),
    ] = False,
) -> None: ...


def main() -> None:
    for stream in (sys.stdout, sys.stderr):  # ✓ and — are worth a question mark where the encoding lacks them
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    app()


if __name__ == "__main__":
    main()
