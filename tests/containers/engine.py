"""Which Docker engine, client and Compose do the tests of containers use?"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.rigs.kafka_jars import ROOT

COMPOSE = "github.com/docker/compose/v2/cmd@v2.40.3"
"""What is built where there is no `docker compose` but Go; no registry is needed for it."""
_CONFIG = ROOT / ".cache" / "docker"  # of a client: its plug-ins


class NoDocker(RuntimeError):
    """This machine has no Docker engine, or no client that can build; the message says which."""


def find_client() -> str:
    """The first `docker` on the PATH that has BuildKit, of an engine that answers. Raises NoDocker."""
    folders = os.get_exec_path()
    clients = [found for folder in folders if (found := shutil.which("docker", path=folder)) is not None]
    if not clients:
        raise NoDocker("docker is not on the PATH")
    if not any(_succeeds(client, "info") for client in clients):
        raise NoDocker("no Docker engine answers: start dockerd, and see `docker info`")
    for client in clients:
        if _has_buildkit(client):
            return client
    raise NoDocker(f"no BuildKit: {clients[0]} needs its plug-in buildx")


def environment(client: str) -> dict[str, str]:
    """The variables with which `client` has Compose; it is built where it is not installed. Raises NoDocker."""
    buildkit = {"DOCKER_BUILDKIT": "1"}
    if _succeeds(client, "compose", "version"):
        return buildkit
    plugin = _CONFIG / "cli-plugins" / "docker-compose"
    if not plugin.exists():
        _build_compose(plugin)
    return {**buildkit, "DOCKER_CONFIG": str(_CONFIG)}


def run(command: list[str], *, within: float = 120, folder: Path = ROOT) -> str:
    """What the command says on stdout and stderr. Raises AssertionError with it when it fails."""
    done = attempt(command, within=within, folder=folder)
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}"
    return done.stdout


def attempt(command: list[str], *, within: float = 120, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run it, whatever its exit code; its stdout has what it says on stderr too."""
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=within, cwd=folder, check=False
    )


def _has_buildkit(client: str) -> bool:
    """A plug-in since 23, built in before."""
    if _succeeds(client, "buildx", "version"):
        return True
    version = re.search(r"version (\d+)", run([client, "--version"]))
    return version is not None and int(version.group(1)) < 23


def _build_compose(plugin: Path) -> None:
    if shutil.which("go") is None:
        raise NoDocker("neither `docker compose` nor Go, to build it, are installed")
    module = ROOT / ".cache" / "compose"
    module.mkdir(parents=True, exist_ok=True)
    plugin.parent.mkdir(parents=True, exist_ok=True)
    (module / "go.mod").write_text("module compose\n\ngo 1.23\n")
    run(["go", "get", COMPOSE], within=600, folder=module)
    run(["go", "build", "-o", str(plugin), COMPOSE.partition("@")[0]], within=1200, folder=module)


def _succeeds(*command: str) -> bool:
    return attempt(list(command), within=30).returncode == 0
