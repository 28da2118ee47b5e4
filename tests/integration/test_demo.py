"""Does the demo show what the product does, and does nothing outlive it, however it ends?"""

import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from consumer.kafka.reader import Reader
from consumer.settings import load
from tests.rigs.deadline import wait_until
from tests.rigs.kafka import Kafka
from tests.rigs.kafka_jars import ROOT
from tests.rigs.s3 import S3Server

pytestmark = [pytest.mark.s3, pytest.mark.timeout(180)]

PARTS = 24
DEAD_LETTERS = {
    "image_not_found": 1,
    "image_undecodable": 1,
    "image_format_unsupported": 1,
    "image_too_many_pixels": 1,
    "bucket_not_allowed": 1,
    "schema_invalid": 1,
}


class Demo:
    """`consumer demo run` as a terminal starts it: its own process group, its scratch folder below `folder`."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        runner: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.out = folder / "out"
        self._scratch = folder / "scratch"
        self._scratch.mkdir()
        self.errors = folder / "stderr"
        command = [sys.executable, "-m", "consumer", "demo", "run", "--out", str(self.out), *arguments]
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*runner, *command],
                stdout=subprocess.PIPE,
                stderr=errors,
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env={**os.environ, "TMPDIR": str(self._scratch), **(environment or {})},
                start_new_session=True,
            )

    def finish(self, *, within: float) -> tuple[int, bytes]:
        """The exit code and what stood on stdout."""
        output, _ = self.process.communicate(timeout=within)
        return self.process.returncode, output

    def last_error(self) -> str:
        return self.errors.read_text().splitlines()[-1]

    def processes(self, *words: str) -> list[int]:
        """Servers and consumers of this demo, those with all of these words in their command line."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                line = (folder / "cmdline").read_text().replace("\0", " ")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if f"{self._scratch}/inspection-demo-" in line and all(word in line for word in words):
                found.append(int(folder.name))
        return found

    def wait_for_both(self) -> None:
        """Return when the store and a consumer run."""
        wait_until(
            lambda: bool(self.processes("weed", " mini ")) and bool(self.processes("consumer run")),
            within=60,
            what=lambda: f"store and consumer run\n{self.errors.read_text()}",
        )

    def leftovers(self) -> list[Path]:
        return list(self._scratch.glob("inspection-demo-*"))


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[list[Demo]]:
    """Whatever a test puts in is killed at its end."""
    started: list[Demo] = []
    yield started
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


def test_the_demo_finds_defects_names_every_bad_job_and_leaves_nothing_running(
    tmp_path: Path, demo: list[Demo]
) -> None:
    run = Demo(tmp_path, "--parts", str(PARTS), "--json")
    demo.append(run)
    code, output = run.finish(within=120)

    assert code == 0, run.errors.read_text()
    report = json.loads(output)
    assert report["images"] == sum(report["batch_sizes"].values()) == PARTS
    assert report["dead_letters"] == DEAD_LETTERS
    assert report["defects"]["found"] >= 0.8 * report["defects"]["drawn"] > PARTS / 2
    shown = run.errors.read_text()
    assert "mock cluster" in shown
    assert "at_least_once" in shown
    assert all(reason in shown for reason in DEAD_LETTERS)
    lines = [json.loads(line) for line in (run.out / "results.jsonl").read_text().splitlines()]
    assert [line["image"]["key"] for line in lines] == [f"line-7/{number:05d}.jpg" for number in range(PARTS)]
    page = (run.out / "index.html").read_text()
    assert page.count("data:image/jpeg;base64,") == PARTS
    assert all(reason in page for reason in DEAD_LETTERS)
    assert run.processes() == []
    assert run.leftovers() == []


def test_ctrl_c_half_way_ends_in_one_line_and_leaves_nothing_running(tmp_path: Path, demo: list[Demo]) -> None:
    run = Demo(tmp_path, "--parts", "2000")
    demo.append(run)
    run.wait_for_both()

    os.killpg(run.process.pid, signal.SIGINT)
    code, output = run.finish(within=30)

    assert code == 130
    assert output.count(b"\n") == 1  # what was said at the start
    assert run.errors.read_text() == "error: interrupted\n"
    assert run.processes() == []
    assert run.leftovers() == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_it_as_cleanly(tmp_path: Path, demo: list[Demo], number: signal.Signals) -> None:
    run = Demo(tmp_path, "--parts", "2000")
    demo.append(run)
    run.wait_for_both()

    run.process.send_signal(number)
    code, _ = run.finish(within=30)

    assert code == 130
    assert run.processes() == []
    assert run.leftovers() == []


@pytest.mark.slow
def test_a_demo_that_is_killed_takes_its_servers_and_consumers_along(tmp_path: Path, demo: list[Demo]) -> None:
    run = Demo(tmp_path, "--parts", "2000")
    demo.append(run)
    run.wait_for_both()

    run.process.kill()
    run.process.communicate()

    wait_until(lambda: run.processes() == [], within=10, what="its children are gone")


@pytest.mark.slow
def test_a_replica_that_dies_ends_the_demo_with_what_it_said_last(tmp_path: Path, demo: list[Demo]) -> None:
    run = Demo(tmp_path, "--parts", "2000", "--replicas", "2")
    demo.append(run)
    run.wait_for_both()
    wait_until(lambda: len(run.processes("consumer run")) == 2, within=30, what="both replicas run")

    os.kill(max(run.processes("consumer run")), signal.SIGKILL)
    code, _ = run.finish(within=60)

    assert code == 1
    assert run.last_error().startswith("error: replica 2 ended by SIGKILL; its log ends: ")
    assert run.processes() == []


@pytest.mark.slow
def test_a_full_disk_is_one_line(tmp_path: Path, demo: list[Demo]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.jsonl").symlink_to("/dev/full")
    run = Demo(tmp_path, "--parts", "3")
    demo.append(run)
    code, _ = run.finish(within=120)

    assert code == 1
    assert run.errors.read_text().count("\n") == 1
    assert run.last_error().endswith(": No space left on device")
    assert run.processes() == []


@pytest.mark.slow
def test_it_stays_for_as_long_as_one_wants_to_look_around(
    tmp_path: Path, demo: list[Demo], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Demo(tmp_path, "--parts", "3", "--keep-running")
    demo.append(run)
    assert run.process.stdout is not None
    lines = (line.decode() for line in run.process.stdout)
    said = list(itertools.takewhile(lambda line: not line.endswith(" publish s3://parts/line-\n"), lines))
    status = next(line for line in said if line.endswith(" status\n"))
    variables = dict(line.strip().removeprefix("export ").split("=", 1) for line in said if "export " in line)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = load(inspects=False)
    with Reader(settings, [settings.topics.results]) as reader:
        results = list(reader.read_to_end())
    subprocess.run(shlex.split(status), cwd=ROOT, check=True, timeout=60)
    run.process.send_signal(signal.SIGINT)
    code, _ = run.finish(within=30)

    assert len(results) == 3
    assert variables.keys() == {"CONSUMER_SETTINGS", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"}
    assert code == 0
    assert run.processes() == []


@pytest.mark.slow
def test_a_broker_that_does_not_answer_is_named(tmp_path: Path, demo: list[Demo]) -> None:
    run = Demo(tmp_path, "--parts", "3", "--bootstrap-servers", "127.0.0.1:1")
    demo.append(run)
    code, _ = run.finish(within=60)

    assert code == 3
    assert run.errors.read_text().count("\n") == 1
    assert "127.0.0.1:1" in run.last_error()
    assert run.processes() == []


@pytest.mark.slow
@pytest.mark.kafka
def test_on_a_broker_and_in_a_bucket_of_yours_it_delivers_exactly_once_and_cleans_up(
    kafka: Kafka, s3: S3Server, bucket: str, tmp_path: Path, demo: list[Demo]
) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    before = set(admin.list_topics(timeout=10).topics)
    servers = ("--bootstrap-servers", kafka.bootstrap_servers, "--s3-endpoint", s3.endpoint_url, "--bucket", bucket)
    run = Demo(tmp_path, "--parts", "40", "--json", *servers, environment=s3.environment)
    demo.append(run)
    code, output = run.finish(within=150)

    assert code == 0, run.errors.read_text()
    assert json.loads(output)["repeated"] == 0
    assert Counter(json.loads(output)["dead_letters"]) == DEAD_LETTERS
    assert "3 replicas, delivery exactly_once" in run.errors.read_text()
    assert not [name for name in admin.list_topics(timeout=10).topics if name.startswith("inspection-demo-")]
    assert set(admin.list_topics(timeout=10).topics) - before <= {"__consumer_offsets", "__transaction_state"}
    assert "Contents" not in s3.client.list_objects_v2(Bucket=bucket)


@pytest.mark.slow
@pytest.mark.kafka
def test_with_a_kafka_for_its_own_time(tmp_path: Path, demo: list[Demo]) -> None:
    """What `make demo BROKER=kafka` runs."""
    runner = (sys.executable, "-m", "tests.rigs.with_kafka")
    run = Demo(tmp_path, "--parts", "30", "--json", "--bootstrap-servers", "{}", runner=runner)
    demo.append(run)
    code, output = run.finish(within=150)

    assert code == 0, run.errors.read_text()
    assert json.loads(output.splitlines()[-1])["dead_letters"] == DEAD_LETTERS
    assert "3 replicas, delivery exactly_once" in run.errors.read_text()
    assert run.processes() == []
