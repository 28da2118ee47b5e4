"""How findings are printed, and which exit code they make."""

from collections.abc import Iterable

import typer

from consumer.checkup.findings import Finding, is_red
from consumer.commands.frame import console, write_line

STYLES = {"ok": "green", "warning": "yellow", "red": "red", "skipped": "dim"}


def show(findings: Iterable[Finding], *, as_json: bool) -> None:
    """Each finding as it comes, or one JSON document of all; ends with 1 when one is red."""
    all_: list[Finding] = []
    for finding in findings:
        all_.append(finding)
        if not as_json:
            console.print(finding.line, style=STYLES[finding.state], markup=False, highlight=False, soft_wrap=True)
    if as_json:
        write_line({"ok": not is_red(all_), "checks": all_})
    if is_red(all_):
        raise typer.Exit(1)
