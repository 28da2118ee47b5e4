"""What runs a framework that others offer? An environment of its own, at the versions of its requirements.txt."""

import hashlib
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "benchmarks" / "environments"
_SECONDS = 900


class CannotRun(RuntimeError):
    """Why a framework has no row of numbers."""


@cache
def python(name: str) -> Path:
    """The interpreter of a framework's environment, made at the first call. Raises CannotRun."""
    requirements = HERE / name / "requirements.txt"
    folder = CACHE / f"{name}-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]}"
    interpreter = folder / "bin" / "python"
    done = folder / ".installed"
    if not done.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        _run("venv", "--quiet", "--python", sys.executable, str(folder))
        _run("pip", "install", "--quiet", "--python", str(interpreter), "-r", str(requirements))
        done.touch()
    return interpreter


def versions(name: str) -> str:
    """The pins of a framework and of what works in it."""
    lines = (HERE / name / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return ", ".join(line.split(";")[0].strip() for line in lines if line and not line.startswith("#"))


def _run(*arguments: str) -> None:
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        raise CannotRun("uv, which makes its environment, is not there")
    done = subprocess.run([uv, *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode:
        raise CannotRun(f"its environment cannot be made: {' '.join(done.stderr.split())[-300:]}")
