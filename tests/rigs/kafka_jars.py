"""Where are the jars of the Apache Kafka that the tests run?"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from xml.etree import ElementTree

POM = Path(__file__).with_name("pom.xml")
ROOT = POM.parents[2]
CACHE_VARIABLE = "TEST_KAFKA_CACHE"
MINIMUM_JAVA = 17
_DOWNLOAD_SECONDS = 300


def missing_tool() -> str | None:
    """Return why Kafka cannot be run from jars on this machine, or None when it can."""
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            return f"{tool} is not on the PATH"
    version = _java_version()
    return None if version >= MINIMUM_JAVA else f"Java {MINIMUM_JAVA} is needed, `java` is {version}"


def kafka_version() -> str:
    """Return the version that pom.xml names."""
    text = ElementTree.parse(POM).findtext(".//{*}kafka.version")
    if text is None:
        raise ValueError(f"{POM} has no kafka.version")
    return text


def fetch_jars() -> Path:
    """Return a folder of jars; the first call downloads it, calls of other processes wait for that."""
    cache = Path(os.environ.get(CACHE_VARIABLE) or ROOT / ".cache" / "kafka")
    jars = cache / kafka_version()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars.exists():
            _download(jars)
    return jars


def _download(jars: Path) -> None:
    """Let Maven fill a folder beside `jars`, then rename it: a folder of that name is always complete."""
    with tempfile.TemporaryDirectory(dir=jars.parent) as scratch:
        libs = Path(scratch) / "libs"
        command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"]
        done = subprocess.run(
            [*command, "-DincludeScope=runtime", f"-DoutputDirectory={libs}"],
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_SECONDS,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"Maven could not fetch Kafka:\n{done.stdout}{done.stderr}")
        libs.rename(jars)


def _java_version() -> int:
    shown = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True, timeout=30)
    found = re.search(r'version "(\d+)', shown.stderr + shown.stdout)
    return int(found.group(1)) if found else 0
