"""Does `consumer publish` send each job once, say where it stands, and know when its outcomes are in?"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from consumer.__main__ import app
from consumer.kafka.reader import Reader
from consumer.settings import load
from tests.conftest import CreateTopics, StartConsumer
from tests.rigs.deadline import wait_until
from tests.rigs.jobs import picture, settings_for
from tests.rigs.s3 import S3Server

pytestmark = [pytest.mark.kafka, pytest.mark.s3]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch, s3: S3Server) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "CONSUMER_"))]:
        monkeypatch.delenv(name)
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "300")


def write_settings(folder: Path, settings: dict[str, Any]) -> str:
    file = folder / "publish.yaml"
    file.write_text(yaml.safe_dump(settings))
    return str(file)


def publish(file: str, *arguments: str, given: bytes = b"") -> Result:
    return CliRunner().invoke(app, ["publish", *arguments, "--settings", file], input=given)


def read_keys(reader: Reader, keys: list[str], count: int) -> list[str]:
    """Adds the image keys of the jobs that came, until there are so many."""

    def has_them() -> bool:
        keys.extend(json.loads(record.value or b"")["image"]["key"] for record in reader.poll(0.05))
        return len(keys) >= count

    wait_until(has_them, within=20, what=lambda: f"{count} jobs are there, not {len(keys)}")
    return keys


def test_a_folder_is_uploaded_published_and_followed_to_its_outcomes(
    surroundings: None,
    topics: CreateTopics,
    s3: S3Server,
    bucket: str,
    start_consumer: StartConsumer,
    tmp_path: Path,
) -> None:
    names = topics(partitions=3)
    settings = settings_for(names, s3, bucket)
    start_consumer(settings, environment=s3.environment)  # it gets ready meanwhile
    file = write_settings(tmp_path, settings)
    folder = tmp_path / "photos"
    (folder / "camera ü").mkdir(parents=True)
    for number in range(12):
        (folder / "camera ü" / f"{number}+.jpg").write_bytes(picture(64, 48, seed=number))
    (folder / "torn.jpg").write_bytes(b"<html>")
    (folder / "empty.jpg").write_bytes(b"")

    good = publish(
        file, str(folder), "--to", f"s3://{bucket}/line-3", "--match", "camera*", "--wait", "--key", "folder", "--json"
    )
    assert good.exit_code == 0, good.stderr
    assert json.loads(good.stdout)["outcomes"] == {"results": 12, "dead_letters": {}, "missing": 0}
    assert "uploaded 12 images; 0 were there already" in good.stderr
    assert s3.client.head_object(Bucket=bucket, Key="line-3/camera ü/3+.jpg")["ContentType"] == "image/jpeg"

    everything = publish(file, str(folder), "--to", f"s3://{bucket}/line-3", "--wait")
    assert everything.exit_code == 1
    assert "uploaded 1 images; 12 were there already" in everything.stderr
    assert "outcomes: 12 results, 1 dead letters (image_format_unsupported 1), 0 missing" in everything.stdout
    assert "skipped: empty 1" in everything.stdout

    with Reader(load(Path(file)), [names.results]) as reader:
        keyed = [record for record in reader.read_to_end() if record.key is not None]
    assert {record.key for record in keyed} == {"line-3/camera ü".encode()}
    assert len({record.partition for record in keyed}) == 1
    assert [json.loads(record.value or b"")["image"]["key"] for record in keyed] == sorted(
        f"line-3/camera ü/{number}+.jpg" for number in range(12)
    )


def test_what_ctrl_c_interrupts_can_be_gone_on_with(
    surroundings: None, topics: CreateTopics, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    """No consumer runs, so that those who wait for outcomes learn which are missing."""
    names = topics(partitions=2)
    file = write_settings(tmp_path, settings_for(names, s3, bucket))
    keys = [f"line-3/{number:02}.jpg" for number in range(40)]
    for key in keys:
        s3.put(bucket, key, b"x")
    prefix = f"s3://{bucket}/line-3/"

    command = [sys.executable, "-m", "consumer", "publish", prefix, "--rate", "20", "--settings", file]
    seen: list[str] = []
    with Reader(load(Path(file)), [names.jobs]) as reader:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        read_keys(reader, seen, 3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert process.returncode == 130
        last = err.strip().removeprefix(f"interrupted; the last job taken was s3://{bucket}/")
        sent = keys.index(last) + 1
        assert out.startswith(f"published {sent} jobs to {names.jobs} in ")
        assert sent < 40

        rest = publish(file, prefix, "--start-after", last, "--wait", "--timeout", "0.1")
        assert rest.exit_code == 1
        assert f"error: {40 - sent} outcomes are missing ({names.jobs}/" in rest.stderr
        assert sorted(read_keys(reader, seen, 40)) == keys


def test_a_job_over_the_topics_limit_is_named_and_the_others_are_sent(
    surroundings: None, topics: CreateTopics, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    names = topics(partitions=2, settings={"max.message.bytes": "5000"})
    file = write_settings(tmp_path, settings_for(names, s3, bucket))
    sizes = [10, 4500, 6000, 10] * 5
    lines = [json.dumps({"image": f"s3://{bucket}/{n}.jpg", "metadata": "m" * size}) for n, size in enumerate(sizes)]

    result = publish(file, "-", "--json", given="\n".join(lines).encode())

    assert result.exit_code == 1
    said = json.loads(result.stdout)
    assert (said["published"], said["unsent"]["count"]) == (15, 5)
    kept = Path(said["unsent"]["file"])
    assert [json.loads(line)["image"] for line in kept.read_text().splitlines()] == [
        f"s3://{bucket}/{number}.jpg" for number in range(2, 20, 4)
    ]
    kept.unlink()
    assert f"s3://{bucket}/2.jpg: it has " in result.stderr
    assert f"limit 5000 (max.message.bytes of {names.jobs})" in result.stderr
    with Reader(load(Path(file)), [names.jobs]) as reader:
        assert len(list(reader.read_to_end())) == 15
