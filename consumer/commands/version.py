"""consumer --version."""

import typer


def print_versions(is_asked: bool) -> None:
    """What matters for a report of a bug: libraries, engines, and the weights that the settings name."""
    if not is_asked:
        return
    from consumer.versions import versions

    for name, version in versions():
        typer.echo(f"{name:16}{version}")
    raise typer.Exit
