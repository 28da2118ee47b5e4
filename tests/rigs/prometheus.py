"""How do the tests get a real Prometheus, and what does it answer?"""

import fcntl
import json
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from consumer.demo.ports import free_port
from consumer.leash import kill, spawn, tail
from tests.rigs.deadline import wait_until
from tests.rigs.kafka_jars import ROOT

RULES = ROOT / "deploy" / "prometheus" / "inspection.rules.yml"
_START_SECONDS = 30


class PrometheusUnavailable(RuntimeError):
    """This machine has no way to get a Prometheus; the message says what was tried."""


@dataclass(frozen=True)
class PrometheusApi:
    """What a Prometheus at host:port answers."""

    address: str

    def ask(self, expression: str) -> list[float]:
        """The numbers of an instant query, NaN included; an expression it cannot read raises."""
        found = self.get("/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        return [float(one["value"][1]) for one in found["result"]]

    def rules(self) -> list[dict[str, Any]]:
        """Every rule that is loaded, with `health` and `lastError`."""
        return [rule for group in self.get("/api/v1/rules")["groups"] for rule in group["rules"]]

    def targets(self, job: str) -> dict[str, str]:
        """`up`, `down` or `unknown` by host:port of what it scrapes for a job."""
        active = self.get("/api/v1/targets?state=active")["activeTargets"]
        return {one["labels"]["instance"]: one["health"] for one in active if one["labels"]["job"] == job}

    def get(self, path: str) -> Any:
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:
                raise
            raise AssertionError(f"{path}: {error.read().decode()}") from error


class Prometheus:
    """A Prometheus on 127.0.0.1 that scrapes and evaluates our rules every second."""

    def __init__(self, targets: Mapping[str, str]) -> None:
        """`targets`: host:port by job."""
        self._binary = binary("prometheus")
        self._folder = Path(tempfile.mkdtemp(prefix="inspection-prometheus-"))
        self._log = self._folder / "prometheus.log"
        self._api = PrometheusApi(f"127.0.0.1:{free_port()}")
        self._process: subprocess.Popen[bytes] | None = None
        jobs = [{"job_name": job, "static_configs": [{"targets": [address]}]} for job, address in targets.items()]
        settings = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": jobs,
        }
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(settings))

    def __enter__(self) -> Self:
        command: list[str | Path] = [
            self._binary,
            f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address={self._api.address}",
        ]
        self._process = spawn(command, log=self._log, folder=self._folder)
        try:
            wait_until(self._is_ready, within=_START_SECONDS, what=lambda: f"prometheus is ready\n{tail(self._log)}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            kill(self._process)
        shutil.rmtree(self._folder, ignore_errors=True)

    def ask(self, expression: str) -> list[float]:
        return self._api.ask(expression)

    def _is_ready(self) -> bool:
        try:
            self.ask("vector(1)")
        except OSError:
            return False
        return True


def binary(name: str) -> Path:
    """`prometheus` or `promtool`: an installed one, else that of Debian's package, unpacked into the cache."""
    if installed := shutil.which(name):
        return Path(installed)
    cache = ROOT / ".cache" / "prometheus"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cache / "package").exists():
            _unpack(cache / "package")
    return cache / "package" / "usr" / "bin" / name


def _unpack(package: Path) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise PrometheusUnavailable("prometheus is not on the PATH, and there is no apt-get to download it with")
    with tempfile.TemporaryDirectory(dir=package.parent) as scratch:
        for command in (["apt-get", "download", "prometheus"], ["dpkg", "-x", "prometheus.deb", "package"]):
            for found in Path(scratch).glob("prometheus_*.deb"):
                found.rename(Path(scratch) / "prometheus.deb")
            done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=120, check=False)
            if done.returncode:
                raise PrometheusUnavailable(f"{' '.join(command)}: {done.stderr.strip()} (apt-get update helps?)")
        (Path(scratch) / "package").rename(package)
