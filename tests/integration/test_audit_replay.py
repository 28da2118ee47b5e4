"""Do a replay with other settings and a comparison tell what these settings would have changed in production?"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from consumer.commands.audit_diff import diff
from consumer.commands.audit_replay import replay
from consumer.commands.audit_verify import verify
from consumer.kafka.reader import Reader
from consumer.settings import load
from tests.conftest import CreateTopics, StartConsumer
from tests.rigs.jobs import job, put_pictures, settings_for
from tests.rigs.s3 import S3Server
from tests.rigs.topics import Topics

pytestmark = [pytest.mark.kafka, pytest.mark.s3]

ROOT = Path(__file__).parents[2]
app = typer.Typer()
for command in (diff, replay, verify):
    app.command()(command)


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch, s3: S3Server) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "CONSUMER_"))]:
        monkeypatch.delenv(name)
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "300")


class Line:
    """Three topics with their consumer's settings; both lines write into one audit."""

    def __init__(self, topics: Topics, s3: S3Server, bucket: str, folder: Path, *, confidence: float) -> None:
        self.topics = topics
        self.settings = settings_for(
            topics,
            s3,
            bucket,
            model={"confidence": confidence},
            images={"not_found_grace": 0},
            audit={"bucket": bucket, "prefix": "audit"},
        )
        self.file = folder / f"{topics.jobs}.yaml"
        self.file.write_text(yaml.safe_dump(self.settings | {"http": {"port": 0}}))

    def run(self, start_consumer: StartConsumer, s3: S3Server) -> None:
        """Do what is there, and audit it."""
        arguments = ("--until-caught-up",)
        name = self.topics.jobs
        process = start_consumer(self.settings, name=name, environment=s3.environment, arguments=arguments)
        assert process.wait(60) == 0, process.log
        audit = [sys.executable, "-m", "consumer", "audit", "run", *arguments, "--settings", str(self.file)]
        done = subprocess.run(audit, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    def ask(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        result = CliRunner().invoke(app, [*arguments, "--settings", str(self.file), "--json"])
        assert result.exit_code == code, result.output
        fields: dict[str, Any] = json.loads(result.stdout)
        return fields


def test_a_replay_with_another_threshold_shows_what_it_would_have_changed(
    surroundings: None,
    topics: CreateTopics,
    s3: S3Server,
    bucket: str,
    start_consumer: StartConsumer,
    tmp_path: Path,
) -> None:
    """The stand-in is as sure of an image as its pixels make it; the candidate's threshold is above some of these."""
    keys = put_pictures(s3, bucket)
    line = Line(topics(partitions=2), s3, bucket, tmp_path, confidence=0.25)
    candidate = Line(topics(partitions=3), s3, bucket, tmp_path, confidence=0.8)
    values = [job(bucket, key, job_id=f"part-{key}", metadata={"key": key, "n": 1.50}) for key in keys]
    published = line.topics.publish([*values, job(bucket, "late.jpg"), b"{broken"], key=b"line-3")
    line.run(start_consumer, s3)
    # What changes meanwhile: an image that was missing comes, one goes, and one gets other bytes.
    first = s3.client.get_object(Bucket=bucket, Key=keys[0])["Body"].read()
    s3.put(bucket, "late.jpg", first)
    s3.client.delete_object(Bucket=bucket, Key=keys[1])
    s3.put(bucket, keys[2], first)

    sent = line.ask("replay", "--to", candidate.topics.jobs)
    assert sent == {"topic": candidate.topics.jobs, "sent": 6, "not_sent": 0, "refused": [], "without_image": 1}
    with Reader(load(line.file), [candidate.topics.jobs]) as reader:
        again = list(reader.read_to_end())
    origins = {f"{one.topic}/{one.partition}/{one.offset}/0" for one in published[:-1]}
    assert {(record.header("inspection-replay-of") or b"").decode() for record in again} == origins
    assert {record.key for record in again} == {b"line-3"}
    metadata = {json.loads(record.value or b"")["job_id"]: record.value or b"" for record in again}
    assert f'"metadata":{{"key": "{keys[0]}", "n": 1.5}}'.encode() in metadata[f"part-{keys[0]}"]

    candidate.run(start_consumer, s3)
    pictures = tmp_path / "pictures"
    others = ["--candidate", candidate.topics.results, "--candidate", candidate.topics.dead_letters]
    found = line.ask("diff", *others, "--pictures", str(pictures))
    sure = {key: confidence(line, s3, bucket, key) for key in (keys[0], keys[3], keys[4])}
    unsure = [key for key, value in sure.items() if value < 0.8]
    assert unsure, "the pictures must be such that the threshold matters"
    assert {kind: count for kind, count in found["jobs"].items() if count} == {
        "same": 3 - len(unsure),
        "changed": len(unsure),
        "died": 1,
        "recovered": 1,
        "different_bytes": 1,
        "missing": 1,
    }
    assert found["changes"]["vanished"] == len(unsure)
    assert sum(found["changes"].values()) == len(unsure)
    # The image that is gone has no picture.
    assert len(found["pictures"]) == len(list(pictures.iterdir())) == len(unsure) + 1
    assert [one["confidence_threshold"] for one in found["configurations"]["candidate"]] == [0.8]

    red = line.ask("diff", *others, "--max-vanished", "0", "--max-missing", "1", code=1)
    assert red["exceeded"] == [f"vanished {len(unsure)}, allowed 0"]
    verified = line.ask("verify")
    assert verified["findings"] == verified["pending"] == []
    assert verified["rows"] == 7 + 7 + 6 + 6


def confidence(line: Line, s3: S3Server, bucket: str, key: str) -> float:
    """Of the only detection that production made."""
    with Reader(load(line.file), [line.topics.results]) as reader:
        results = [json.loads(record.value or b"") for record in reader.read_to_end()]
    (found,) = (result["detections"] for result in results if result["image"]["key"] == key)
    return float(found[0]["confidence"])
