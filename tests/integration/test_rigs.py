"""Do the servers and readers that the proofs stand on do what they say?"""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from tests.conftest import CreateTopics
from tests.rigs.deadline import wait_until
from tests.rigs.kafka import Kafka, KafkaCluster
from tests.rigs.kafka_jars import ROOT
from tests.rigs.kafka_places import Places
from tests.rigs.kafka_proxy import Api, ProxiedKafka
from tests.rigs.outcomes import OutcomeReader, Source, judge
from tests.rigs.s3 import S3Server
from tests.rigs.small_disk import DiskUnavailable, small_disk


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
    places = Places(kafka_cluster.bootstrap_servers)
    wait_until(lambda: bool(places.led_by(0)), within=20, what="the node leads a partition")
    led = places.led_by(0)
    kafka_cluster.stop_node(0, hard=True)
    try:
        jobs = mine.publish([b"job"] * 30)
        assert kafka_cluster.running == [1, 2]
        assert places.led_by(0) == []
    finally:
        kafka_cluster.start_node(0)

    assert sorted({job.partition for job in jobs}) == [0, 1, 2]
    places.give_back()
    wait_until(lambda: set(places.led_by(0)) >= set(led), within=20, what="it leads again what it led")


@pytest.mark.cluster
def test_the_coordinator_of_a_group_is_where_its_name_says(kafka_cluster: KafkaCluster) -> None:
    places = Places(kafka_cluster.bootstrap_servers)
    admin = AdminClient({"bootstrap.servers": kafka_cluster.bootstrap_servers})
    groups = [f"group.{number}-of-{kafka_cluster.bootstrap_servers}" for number in range(6)]
    told: dict[str, int] = {}

    def is_told(group: str) -> bool:
        try:
            described = admin.describe_consumer_groups([group])[group].result(10)
        except KafkaException:  # the internal topic is being made
            return False
        told[group] = described.coordinator.id - 1
        return True

    for group in groups:
        wait_until(partial(is_told, group), within=30, what=f"{group} is described")
    assert told == {group: places.group_coordinator(group) for group in groups}
    assert len(set(told.values())) > 1


def transactional(kafka: ProxiedKafka, name: str) -> Producer:
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": name, "socket.timeout.ms": 1000}
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    return producer


@pytest.mark.kafka
def test_a_held_request_waits_for_its_release_and_all_others_flow(
    proxied_kafka: ProxiedKafka, topics: CreateTopics
) -> None:
    mine = topics(partitions=1, kafka=proxied_kafka)
    jobs = mine.publish([b"job"] * 2)
    names = [f"{mine.group}.a", f"{mine.group}.b"]
    held, other = (transactional(proxied_kafka, name) for name in names)
    for producer, job in zip((held, other), jobs, strict=True):
        producer.produce(mine.results, result(job), partition=0)
        producer.flush(10)

    with proxied_kafka.proxy.hold(Api.END_TXN, containing=names[0]) as catch:
        with pytest.raises(KafkaException) as timed_out:
            held.commit_transaction(0.3)
        assert timed_out.value.args[0].code() == KafkaError._TIMED_OUT
        other.commit_transaction(10)
        assert catch.requests[0].transactional_id == names[0]
        assert not catch.requests[0].is_answered
        with OutcomeReader(proxied_kafka.bootstrap_servers, mine.outcomes) as reader:
            assert reader.read_to_end() == []  # the one that is open lies before the other
            catch.release()
            held.commit_transaction(10)
            assert [outcome.source for outcome in reader.read_count(2, within=20)] == jobs
    catch.wait_answered()


@pytest.mark.kafka
def test_a_held_request_arrives_although_its_client_has_gone(proxied_kafka: ProxiedKafka, topics: CreateTopics) -> None:
    mine = topics(partitions=1, kafka=proxied_kafka)
    [job] = mine.publish([b"job"])
    producer = transactional(proxied_kafka, mine.group)
    producer.produce(mine.results, result(job), partition=0)
    producer.flush(10)

    with proxied_kafka.proxy.hold(Api.END_TXN, count=1) as catch:
        with pytest.raises(KafkaException):
            producer.commit_transaction(0.1)
        catch.wait()
        del producer
    catch.wait_answered()
    with OutcomeReader(proxied_kafka.bootstrap_servers, mine.outcomes) as reader:
        assert [outcome.source for outcome in reader.read_count(1, within=20)] == [job]


@pytest.mark.kafka
def test_a_request_whose_answer_is_swallowed_is_done(proxied_kafka: ProxiedKafka, topics: CreateTopics) -> None:
    mine = topics(partitions=1, kafka=proxied_kafka)
    [job] = mine.publish([b"job"])
    producer = transactional(proxied_kafka, mine.group)
    producer.produce(mine.results, result(job), partition=0)

    with proxied_kafka.proxy.swallow(Api.END_TXN, count=1) as catch:
        with pytest.raises(KafkaException) as timed_out:
            producer.commit_transaction(0.3)
        assert timed_out.value.args[0].code() == KafkaError._TIMED_OUT
        catch.wait_answered()
    with OutcomeReader(proxied_kafka.bootstrap_servers, mine.outcomes) as reader:
        assert [outcome.source for outcome in reader.read_count(1, within=20)] == [job]
    producer.commit_transaction(10)  # on a connection of its own


@pytest.mark.kafka
def test_clients_come_back_after_their_connections_were_cut(proxied_kafka: ProxiedKafka, topics: CreateTopics) -> None:
    mine = topics(partitions=1, kafka=proxied_kafka)
    [first] = mine.publish([b"job"])
    proxied_kafka.proxy.reset()
    [second] = mine.publish([b"job"])
    assert second.offset == first.offset + 1


def test_a_small_disk_fills_up_and_is_freed() -> None:
    try:
        with small_disk(megabytes=2) as disk:
            disk.fill()
            with pytest.raises(OSError, match="No space left"):
                (disk.folder / "one more").write_bytes(b"x" * 4096)
            disk.free()
            (disk.folder / "one more").write_bytes(b"x" * 4096)
    except DiskUnavailable as error:
        pytest.skip(str(error))
    assert not disk.folder.exists()


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
