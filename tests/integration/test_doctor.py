"""Does `consumer doctor` find a system well that is, and name each thing that is not, with what to do about it?"""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from consumer.__main__ import app
from consumer.checkup import kafka as checkup_kafka
from consumer.checkup.checkup import check_up
from consumer.checkup.findings import Finding
from consumer.settings import Settings
from tests.conftest import CreateTopics
from tests.integration.mistakes import NOBODY
from tests.rigs.jobs import settings_for
from tests.rigs.s3 import S3Server
from tests.rigs.topics import Topics

pytestmark = [pytest.mark.kafka, pytest.mark.s3]

WEIGHTS = Path(__file__).parents[2] / "consumer/demo/weights/parts-yolo26n.onnx"
REAL: dict[str, dict[str, Any]] = {"model": {"engine": "openvino", "weights": str(WEIGHTS)}, "http": {"port": 0}}


@pytest.fixture(autouse=True)
def _credentials(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)


def look(tmp_path: Path, settings: dict[str, Any]) -> dict[str, Finding]:
    """What the doctor says of these settings, by name."""
    root = tmp_path if (tmp_path / "sys").exists() else Path("/")
    return {finding.name: finding for finding in check_up(Settings(**settings), root=root)}


def test_a_system_that_is_well_is_green_and_its_model_really_runs(
    topics: CreateTopics, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    made, file = topics(), tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(settings_for(made, s3, bucket, **REAL)))
    result = CliRunner().invoke(app, ["doctor", "--settings", str(file), "--json"])

    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["ok"] is True
    assert {check["state"] for check in told["checks"]} == {"ok"}, told
    facts = {check["name"]: check["fact"] for check in told["checks"]}
    assert "Kafka 4.0 or newer" in facts["broker version"]
    assert "not pinned" in facts["weights"]
    assert "openvino in f32" in facts["engine"]
    assert "ms for an image of 320x320; parts-yolo26n, detect, 4 classes (scratch, dent, stain, …)" in facts["engine"]
    assert facts[f"rights: group {made.group}"] == "READ is granted"


def test_each_thing_that_is_not_well_is_red_with_its_fact_and_its_advice(
    topics: CreateTopics, s3: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = topics()
    good = settings_for(made, s3, bucket, http={"port": 0})
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.max").write_text(str(64 * 2**20))
    swapped = Topics(made.bootstrap_servers, made.jobs, made.dead_letters, made.results, made.group, made.partitions)

    # The broker is away; all that does not rest on it is looked at, and found wrong.
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    monkeypatch.setattr(checkup_kafka, "TIMEOUT", 0.5)
    found = look(
        tmp_path,
        good | {"kafka": {"bootstrap_servers": NOBODY}, "model": {"weights": str(WEIGHTS), "sha256": "0" * 64}},
    )
    assert_red(found, "brokers", NOBODY, "mend kafka.bootstrap_servers")
    assert_red(found, f"bucket {bucket}", "SignatureDoesNotMatch", "credentials")
    assert_red(found, "weights", "0" * 64, "mend the section model")
    assert {name for name, finding in found.items() if finding.state == "skipped"} == {
        "broker version",
        "topics",
        "rights: topics",
        "rights: group",
        "rights: transactional id",
        "engine",
        "memory",
    }
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.environment["AWS_SECRET_ACCESS_KEY"])
    monkeypatch.setattr(checkup_kafka, "TIMEOUT", 4.0)

    # The bucket is missing, the dead letters' topic too small, the memory too.
    found = look(tmp_path, good | swapped.settings | {"images": {"allowed_buckets": [bucket, "no-such-bucket"]}})
    assert_red(found, "bucket no-such-bucket", "NoSuchBucket", "images.allowed_buckets")
    assert found[f"bucket {bucket}"].state == "ok"
    assert_red(found, f"topic {made.results}", "it needs 1114124", "max.message.bytes=1114124")
    assert_red(found, "memory", "of 64 MiB", "limits.max_in_flight_bytes")
    assert found["engine"].state == "ok"

    # A topic is missing, and the counts differ.
    fewer = topics(2)
    (tmp_path / "sys/fs/cgroup/memory.max").unlink()
    mixed = {"jobs": made.jobs, "results": fewer.results, "dead_letters": "nowhere"}
    found = look(tmp_path, good | {"topics": mixed})
    assert_red(found, f"topic {fewer.results}", "has 2 partitions, 3 are wanted", "--partitions 3 --add-partitions")
    assert_red(found, "topic nowhere", "does not exist", "consumer topics create")
    assert found["rights: topic nowhere"].state == "skipped"


def assert_red(found: dict[str, Finding], name: str, fact: str, advice: str) -> None:
    finding = found[name]
    assert finding.state == "red", finding.line
    assert fact in finding.fact
    assert advice in finding.advice
