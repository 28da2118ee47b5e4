"""How does a command end when something is wrong with where it writes, or with what it writes?"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

PROGRAM = """
import typer
from consumer.commands.frame import console, ending, errors, write_line
app = typer.Typer()
@app.command()
def command(what: str) -> None:
    with ending():
        for _ in range({"json": 20_000, "table": 4_000}.get(what, 1)):
            if what == "json":
                write_line({"a": 1})
            else:
                console.print("key \x1b]0;pwned\x07 \x85 ü\tend", markup=False)
        errors.print("all written")
app()
"""


def run(what: str, redirection: str) -> tuple[int, str, str]:
    command = f'"{sys.executable}" -c "$PROGRAM" {what} {redirection}; echo "ended ${{PIPESTATUS[0]}}" >&2'
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env={"PROGRAM": PROGRAM}, capture_output=True, text=True, check=False
    )
    return int(done.stderr.rpartition("ended ")[2]), done.stdout, done.stderr


@pytest.mark.parametrize("what", ["json", "table"])
def test_a_reader_that_has_gone_is_told_as_by_any_program(what: str) -> None:
    code, _, errors = run(what, "| head -1")

    assert code == 141
    assert "all written" not in errors
    assert "Traceback" not in errors
    assert "Exception" not in errors


@pytest.mark.parametrize("what", ["json", "table"])
def test_a_full_disk_is_one_line(what: str) -> None:
    code, _, errors = run(what, "> /dev/full")

    assert (code, errors.splitlines()[0]) == (1, "error: output: No space left on device")


@pytest.mark.thorough
@pytest.mark.parametrize("what", ["json", "table"])
def test_a_closed_output_is_nobody_who_reads(what: str) -> None:
    code, _, errors = run(what, ">&-")

    assert (code, "all written" in errors) == (0, True)


def test_nothing_that_is_shown_steers_the_terminal() -> None:
    _, output, _ = run("hostile", "")

    assert "\x1b" not in output
    assert output.startswith(r"key \x1b]0;pwned\x07 \x85 ü")
