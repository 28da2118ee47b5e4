"""`consumer` on the command line, `python -m consumer` too."""

import typer

from consumer import __version__
from consumer.commands import demo, run

app = typer.Typer(
    name="consumer",
    help="Inspection jobs from Kafka, images from S3, batched YOLO inference, exactly one outcome per job.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(run.run)
app.add_typer(demo.app)


@app.callback(invoke_without_command=True)
def version(*, version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        typer.echo(f"consumer {__version__}")
        raise typer.Exit


def main() -> None:
    app()


if __name__ == "__main__":
    main()
