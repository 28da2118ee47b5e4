"""Of what are the images built that the tests of containers run: of public ones, or of what this machine can make?"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from consumer.demo.weed import find_weed
from tests.containers.engine import attempt, run
from tests.rigs.kafka_jars import ROOT, fetch_jars
from tests.rigs.prometheus import binary

PUBLIC_BASE = "python:3.11-slim-bookworm"  # the default of the Dockerfile
LOCAL_BASE = "inspection-tests-base"
LOCAL_BROKER, LOCAL_STORE = "inspection-tests-broker", "inspection-tests-store"  # tests/containers/compose.local.yml
LOCAL_PROMETHEUS = "inspection-tests-prometheus"
SECRET = "a-secret-of-the-tests-of-containers"
"""Stands in the pip configuration that each build gets as its secret; no layer may have it."""
_HERE = Path(__file__).parent
_CERTIFICATES = Path("etc/ssl/certs/ca-certificates.crt")
_PULL_SECONDS = 300
_BUILD_SECONDS = 1200


@dataclass(frozen=True)
class Images:
    """What was built. Where no registry could be reached, broker, store and Prometheus are local ones too."""

    base: str
    cpu: str
    auditor: str
    is_local: bool


def build_images(client: str) -> Images:
    """Build `cpu` and `auditor`, and what stands in for public images where those cannot be had."""
    is_local = not _has_public_base(client)
    base = PUBLIC_BASE
    if is_local:
        base = LOCAL_BASE
        _make_base(client)
        _make_broker(client)
        _make_store(client)
        _make_prometheus(client)
    targets = {target: f"inspection-consumer:{target}" for target in ("cpu", "auditor")}
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as pip:
        pip.write(_pip_configuration())
        pip.flush()
        for target, image in targets.items():
            _build(client, ROOT, image, base, "--target", target, "--secret", f"id=pip,src={pip.name}")
    return Images(base, targets["cpu"], targets["auditor"], is_local)


def _has_public_base(client: str) -> bool:
    if attempt([client, "image", "inspect", PUBLIC_BASE]).returncode == 0:
        return True
    try:
        return attempt([client, "pull", "--quiet", PUBLIC_BASE], within=_PULL_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _make_base(client: str) -> None:
    """Debian with its own Python, by debootstrap from the mirror that this machine installs its packages from."""
    if attempt([client, "image", "inspect", LOCAL_BASE]).returncode == 0:
        return
    assert shutil.which("debootstrap"), f"{PUBLIC_BASE} cannot be pulled, and debootstrap is not installed"
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "root"
        packages = "--include=python3,python3-venv,ca-certificates"
        run(["debootstrap", "--variant=minbase", packages, "bookworm", str(root), *_mirror()], within=_BUILD_SECONDS)
        if (Path("/") / _CERTIFICATES).exists():  # this machine's, else its package index may not be believed
            shutil.copy(Path("/") / _CERTIFICATES, root / _CERTIFICATES)
        packed = Path(scratch) / "root.tar"
        kept = ["--exclude=./var/cache/apt/archives/*.deb", "--exclude=./var/lib/apt/lists/*"]
        run(["tar", "-C", str(root), *kept, "-cf", str(packed), "."], within=_BUILD_SECONDS)
        run([client, "import", "-c", f"ENV PIP_CERT=/{_CERTIFICATES}", str(packed), LOCAL_BASE], within=_BUILD_SECONDS)


def _make_broker(client: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        context = Path(scratch)
        shutil.copytree(_HERE / "broker", context, dirs_exist_ok=True)
        shutil.copytree(fetch_jars(), context / "libs")
        _build(client, context, LOCAL_BROKER, LOCAL_BASE)


def _make_store(client: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        context = Path(scratch)
        shutil.copytree(_HERE / "store", context, dirs_exist_ok=True)
        shutil.copy(find_weed(), context / "weed")
        _build(client, context, LOCAL_STORE, LOCAL_BASE)


def _make_prometheus(client: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        context = Path(scratch)
        shutil.copytree(_HERE / "prometheus", context, dirs_exist_ok=True)
        shutil.copy(binary("prometheus"), context / "prometheus")
        _build(client, context, LOCAL_PROMETHEUS, LOCAL_BASE)


def _build(client: str, context: Path, image: str, base: str, *options: str) -> None:
    """The host's network: only there may its package index and mirror have names."""
    arguments = ["--network", "host", "--build-arg", f"BASE={base}", *options, "--tag", image, str(context)]
    run([client, "build", *arguments], within=_BUILD_SECONDS)


def _mirror() -> list[str]:
    """The first address of apt's own sources; none leaves the choice to debootstrap."""
    sources = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("debian*"))]
    for source in sources:
        for line in source.read_text().splitlines() if source.exists() else ():
            words = [word for word in line.split() if word.startswith(("http://", "https://"))]
            if words and line.startswith(("deb ", "URIs:")):
                return words[:1]
    return []


def _pip_configuration() -> str:
    """Where this machine's pip finds packages, as a configuration file."""
    lines = ["[global]", f"# {SECRET}"]
    for option in ("index-url", "extra-index-url", "trusted-host"):
        variable = "PIP_" + option.upper().replace("-", "_")
        configured = subprocess.run(
            [sys.executable, "-m", "pip", "config", "get", f"global.{option}"],
            capture_output=True,
            text=True,
            check=False,
        )
        value = os.environ.get(variable) or configured.stdout.strip()
        if value:
            lines.append(f"{option} = {' '.join(value.split())}")
    return "\n".join([*lines, ""])
