"""Do the servers and readers that the proofs stand on do what they say?"""

import json
import os
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from confluent_kafka import Producer

from tests.conftest import CreateTopics
from tests.rigs.deadline import wait_until
from tests.rigs.kafka import Kafka, KafkaCluster
from tests.rigs.kafka_jars import ROOT
from tests.rigs.outcomes import OutcomeReader, Source, judge
from tests.rigs.s3 import S3Server


def result(source: Source) -> bytes:
    fields = {"topic": source.topic, "partition": source.partition, "offset": source.offset, "index": source.index}
    return json.dumps({"source": fields}).encode()


def dead_letter_headers(source: Source) -> list[tuple[str, str | bytes | None]]:
    fields = {"topic": source.topic, "partition": source.partition, "offset": source.offset}
    families = [(f"__connect.errors.{name}", str(value).encode()) for name, value in fields.items()]
    return [*families, ("inspection-error-reason", b"image_not_found")]


@pytest.mark.kafka
def test_a_reader_sees_committed_outcomes_and_no_aborted_ones(kafka: Kafka, topics: CreateTopics) -> None:
    mine = topics(partitions=2)
    jobs = mine.publish([b"job"] * 10)
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": mine.group})
    producer.init_transactions(30)

    producer.begin_transaction()
    producer.produce(mine.results, result(jobs[0]), partition=0)
    producer.flush(10)
    producer.abort_transaction(10)
    producer.begin_transaction()
    for job in jobs[:8]:
        producer.produce(mine.results, result(job), partition=job.partition)
    for job in jobs[8:]:
        producer.produce(mine.dead_letters, b"job", partition=job.partition, headers=dead_letter_headers(job))
    producer.commit_transaction(10)

    with OutcomeReader(kafka.bootstrap_servers, mine.outcomes) as reader:
        seen = reader.read_count(10, within=20)
    verdict = judge(jobs, seen)
    assert verdict.is_clean, verdict
    assert [outcome.reason for outcome in seen].count("image_not_found") == 2


@pytest.mark.kafka
def test_an_open_transaction_is_not_yet_seen(kafka: Kafka, topics: CreateTopics) -> None:
    mine = topics(partitions=1)
    [job] = mine.publish([b"job"])
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": mine.group})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(mine.results, result(job), partition=0)
    producer.flush(10)

    with OutcomeReader(kafka.bootstrap_servers, mine.outcomes) as reader:
        assert reader.read_to_end() == []
        producer.commit_transaction(10)
        assert [outcome.source for outcome in reader.read_count(1, within=20)] == [job]


@pytest.mark.cluster
def test_a_cluster_serves_on_while_a_node_is_killed_and_takes_it_back(
    kafka_cluster: KafkaCluster, topics: CreateTopics
) -> None:
    mine = topics(partitions=3, kafka=kafka_cluster)
    kafka_cluster.stop_node(0, hard=True)
    try:
        jobs = mine.publish([b"job"] * 30)
    finally:
        kafka_cluster.start_node(0)

    assert sorted({job.partition for job in jobs}) == [0, 1, 2]


@pytest.mark.s3
def test_an_object_outlives_a_stop_of_its_server(s3: S3Server, bucket: str) -> None:
    s3.put(bucket, "line 3/ü+1.jpg", b"bytes")

    s3.stop()
    try:
        with pytest.raises(EndpointConnectionError):
            s3.get(bucket, "line 3/ü+1.jpg")
    finally:
        s3.start()

    assert s3.get(bucket, "line 3/ü+1.jpg") == b"bytes"


@pytest.mark.s3
def test_a_missing_bucket_and_a_wrong_key_are_refused_by_their_names(s3: S3Server) -> None:
    with pytest.raises(ClientError, match="NoSuchBucket"):
        s3.put("no-such-bucket", "key", b"bytes")
    stranger = boto3.client(
        "s3", endpoint_url=s3.endpoint_url, aws_access_key_id="stranger", aws_secret_access_key="x", region_name="r"
    )
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        stranger.list_buckets()
    stranger.close()


@pytest.mark.s3
def test_two_servers_run_side_by_side(s3: S3Server) -> None:
    with S3Server() as other:
        other.create_bucket("only-here")
        assert "only-here" not in [bucket["Name"] for bucket in s3.client.list_buckets()["Buckets"]]


@pytest.mark.s3
def test_a_killed_test_run_leaves_no_server_behind() -> None:
    program = (
        "import signal; from tests.rigs.s3 import S3Server\n"
        "with S3Server() as server: print(server.process_id, server._folder, flush=True); signal.pause()"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stdout is not None
        server, folder = run.stdout.readline().split()
        assert is_running(int(server))
        run.kill()

    wait_until(lambda: not is_running(int(server)), within=10, what=f"process {server} is gone")
    subprocess.run(["rm", "-r", folder], check=True)


def is_running(process_id: int) -> bool:
    """Say whether it exists and is no zombie, which a container without an init keeps."""
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
