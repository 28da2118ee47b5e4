"""A store whose certificate is of an authority that only we know, as in most factories: TLS with `AWS_CA_BUNDLE`."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from consumer.demo.ports import free_port
from tests.conftest import CreateTopics, StartConsumer
from tests.rigs.certificates import Certificates
from tests.rigs.jobs import job, picture, settings_for
from tests.rigs.kafka_jars import ROOT
from tests.rigs.s3 import S3Server

pytestmark = [pytest.mark.kafka, pytest.mark.s3, pytest.mark.timeout(180)]

BUCKET = "parts"
KEYS = ("line-1/part.jpg", "line-1//part.jpg")  # obstore fetches the one, boto3 the other
JOBS = 20


@dataclass(frozen=True)
class PrivateStore:
    """`server` answers over HTTPS too, at `endpoint_url`."""

    server: S3Server
    endpoint_url: str
    ca_file: Path

    def environment(self, *, trusting: bool) -> dict[str, str]:
        trust = {"AWS_CA_BUNDLE": str(self.ca_file)} if trusting else {}
        return {**self.server.environment, **trust}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateStore]:
    certificates = Certificates(tmp_path_factory.mktemp("certificates"))
    pair, port = certificates.issue("store"), free_port()
    options = [f"-s3.port.https={port}", f"-s3.cert.file={pair.certificate}", f"-s3.key.file={pair.key}"]
    with S3Server(options=options) as server:
        server.create_bucket(BUCKET)
        for seed, key in enumerate(KEYS):
            server.put(BUCKET, key, picture(64, 64, seed=seed))
        yield PrivateStore(server, f"https://127.0.0.1:{port}", certificates.ca_file)


def ask(folder: Path, store: PrivateStore, *arguments: str, trusting: bool) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SSL_"))}
    return subprocess.run(
        [sys.executable, "-m", "consumer", *arguments],
        cwd=folder,
        env={**kept, **store.environment(trusting=trusting), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_who_trusts_its_authority_fetches_writes_and_reads(
    topics: CreateTopics, store: PrivateStore, start_consumer: StartConsumer, tmp_path: Path
) -> None:
    made = topics()
    secure: dict[str, Any] = {"s3": {"endpoint_url": store.endpoint_url}, "audit": {"bucket": BUCKET}}
    settings = settings_for(made, store.server, BUCKET, **secure)
    made.publish([job(BUCKET, KEYS[number % 2], metadata={"number": number}) for number in range(JOBS)])
    trusting = store.environment(trusting=True)

    consumer = start_consumer(settings, environment=trusting, arguments=("--until-caught-up",))
    assert consumer.wait(90) == 0
    auditor = start_consumer(
        settings, name="auditor", environment=trusting, command=("audit", "run"), arguments=("--until-caught-up",)
    )
    assert auditor.wait(90) == 0

    file = str(tmp_path / "auditor.yaml")
    found = ask(tmp_path, store, "audit", "query", "--settings", file, "--json", trusting=True)
    assert found.returncode == 0, found.stderr
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    assert [row["kind"] for row in rows] == ["result"] * JOBS
    for command in ("reconcile", "verify"):
        said = ask(tmp_path, store, "audit", command, "--settings", file, trusting=True)
        assert said.returncode == 0, said.stdout + said.stderr

    refused = ask(tmp_path, store, "audit", "query", "--settings", file, trusting=False)
    assert refused.returncode == 2
    assert "certificate (" in refused.stderr
    assert "AWS_CA_BUNDLE" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_who_does_not_trust_it_is_told_in_one_line(
    topics: CreateTopics, store: PrivateStore, start_consumer: StartConsumer
) -> None:
    settings = settings_for(topics(), store.server, BUCKET, s3={"endpoint_url": store.endpoint_url})
    consumer = start_consumer(settings, environment=store.environment(trusting=False), arguments=("--until-caught-up",))
    assert consumer.wait(60) == 2
    (error,) = [line["message"] for line in consumer.log_lines if line["level"] == "ERROR"]
    assert store.endpoint_url in error
    assert "its certificate is not trusted: unknown issuer; AWS_CA_BUNDLE names" in error
