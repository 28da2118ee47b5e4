"""Do the examples of producers in other languages publish jobs that are inspected?"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from consumer.kafka.publisher import Acknowledged, Publisher, Report
from consumer.settings import load
from tests.conftest import CreateTopics, StartConsumer
from tests.rigs.jobs import picture, settings_for
from tests.rigs.outcomes import OutcomeReader
from tests.rigs.s3 import S3Server
from tests.rigs.topics import Topics

EXAMPLES = Path(__file__).parents[2] / "examples"
KEYS = ["line-3/0001.jpg", 'line 3/ü+"1.jpg', "line-4/0001.jpg"]

pytestmark = [pytest.mark.kafka, pytest.mark.s3, pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.mark.parametrize("language", ["java", "node"])
def test_jobs_published_from_another_language_get_their_results(
    language: str,
    tmp_path: Path,
    topics: CreateTopics,
    s3: S3Server,
    bucket: str,
    start_consumer: StartConsumer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = topics(partitions=50)
    for key in KEYS:
        s3.put(bucket, key, picture(64, 48))
    start_consumer(settings_for(names, s3, bucket), environment=s3.environment)

    publish(language, tmp_path, names.bootstrap_servers, names.jobs, *(f"s3://{bucket}/{key}" for key in KEYS))

    with OutcomeReader(names.bootstrap_servers, names.outcomes) as reader:
        results = [json.loads(outcome.value or b"") for outcome in reader.read_count(len(KEYS), within=60)]
    assert {(result["job_id"], result["image"]["key"]) for result in results} == {
        (f"{language}-{key}", key) for key in KEYS
    }
    assert all(result["metadata"] == {"producer": language} for result in results)
    chosen = {result["image"]["key"]: result["source"]["partition"] for result in results}
    assert chosen == {key: partition_of(names, f"{bucket}/{key[: key.rindex('/') + 1]}", monkeypatch) for key in KEYS}


@pytest.mark.parametrize("language", ["java", "node"])
def test_what_could_not_be_published_ends_the_example_with_an_error(language: str, tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        publish(language, tmp_path, "127.0.0.1:1", "jobs", "no-image")

    assert "expected s3://bucket/key, got no-image" in caught.value.stdout + caught.value.stderr


def partition_of(names: Topics, key: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Where `consumer publish` puts a record with this key."""
    monkeypatch.setenv("CONSUMER__KAFKA__BOOTSTRAP_SERVERS", names.bootstrap_servers)
    reports: list[Report] = []
    with Publisher(load(inspects=False), topic=names.jobs) as publisher:
        publisher.send(b"no job", key.encode(), on_done=reports.append)
        publisher.flush()
    (report,) = reports
    assert isinstance(report, Acknowledged)
    return report.partition


def publish(language: str, folder: Path, brokers: str, topic: str, *images: str) -> None:
    copy = Path(shutil.copytree(EXAMPLES / language, folder / language))
    if language == "node":
        run(copy, "npm", "install", "--silent", "--no-audit", "--no-fund")
        run(copy, "node", "publish.mjs", brokers, topic, *images)
        return
    run(copy, "mvn", "-q", "-B", "compile", "dependency:copy-dependencies", "-DincludeScope=runtime")
    run(copy, "java", "-cp", "target/classes:target/dependency/*", "PublishJobs", brokers, topic, *images)


def run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=300)
