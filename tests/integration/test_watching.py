"""What do operators see of the group and of its outcomes, and what do they do about dead letters?"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner, Result

from consumer.__main__ import app
from consumer.kafka.reader import Reader
from consumer.messages import DeadLetter, Headers, Record, encode_dead_letter
from consumer.settings import load
from tests.conftest import CreateTopics, StartConsumer
from tests.rigs.jobs import picture, publish_mixed, put_pictures, settings_for
from tests.rigs.kafka import Kafka
from tests.rigs.kafka_jars import ROOT
from tests.rigs.outcomes import OutcomeReader
from tests.rigs.s3 import S3Server
from tests.rigs.topics import Topics

pytestmark = [pytest.mark.kafka]

Ask = Callable[..., Result]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[[Topics], Ask]:
    """`ask(topics)("status", "--json")` runs a command against these topics."""

    def of(topics: Topics) -> Ask:
        for name, value in environment_of(topics).items():
            monkeypatch.setenv(name, value)
        return lambda *arguments, **options: CliRunner().invoke(app, list(arguments), **options)

    return of


def environment_of(topics: Topics) -> dict[str, str]:
    return {
        f"CONSUMER__{section}__{key}".upper(): value
        for section, keys in topics.settings.items()
        for key, value in keys.items()
    }


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def standing(result: Result) -> dict[str, Any]:
    (line,) = lines(result)
    return line


@pytest.mark.s3
def test_an_operator_watches_finds_the_cause_and_redrives_each_dead_letter_once(
    kafka: Kafka,
    s3: S3Server,
    bucket: str,
    topics: CreateTopics,
    start_consumer: StartConsumer,
    ask: Callable[[Topics], Ask],
) -> None:
    made = topics(partitions=3)
    consumer = ask(made)
    published = publish_mixed(made, bucket, put_pictures(s3, bucket), 120)
    missing = [source for source, reason in published.reasons.items() if reason == "image_not_found"]
    assert len(missing) == 1 < len(published.reasons)

    late = consumer("status", "--json", "--every", "0.2", "--max-lag-seconds", "0")
    before = json.loads(late.stdout)
    assert (before["state"], before["total"]["lag"]) == ("unknown", 120)
    assert before["total"]["oldest_seconds"] > 0
    assert late.exit_code == 1
    assert "s old, limit 0 s (--max-lag-seconds)" in late.stderr

    process = start_consumer(settings_for(made, s3, bucket), environment=s3.environment)
    with OutcomeReader(kafka.bootstrap_servers, made.outcomes) as reader:
        reader.read_count(120, within=60)
        done = standing(consumer("status", "--json", "--every", "0.2"))
        assert (done["state"], done["members"], done["total"]["lag"]) == ("stable", 1, 0)
        assert {row["owner"]["client_id"] for row in done["partitions"]} == {"inspection-consumer"}
        assert {row["reason"]: row["count"] for row in done["dead_letters"]} == {
            reason: list(published.reasons.values()).count(reason) for reason in published.reasons.values()
        }

        tail = partial(consumer, "results", "tail", "--since", "earliest", "--json")
        assert len(lines(tail("--count", "7"))) == 7
        seen = lines(tail("--until-end"))
        assert len([line for line in seen if "schema" in line]) == 120 - len(published.reasons)
        (listed,) = lines(consumer("deadletters", "list", "--json", "--image", "missing.jpg"))
        name = f"{missing[0].topic}/{missing[0].partition}/{missing[0].offset}"
        assert (listed["reason"], listed["job_id"]) == ("image_not_found", name)
        shown = consumer("deadletters", "show", name).stdout
        assert '"key": "missing.jpg"' in shown
        assert "image_not_found, a retry may help" in shown

        s3.put(bucket, "missing.jpg", picture(320, 240))
        redrive = partial(consumer, "deadletters", "redrive", "--reason", "image_not_found", "--by", "ann", "--yes")
        assert standing(redrive("--json", "--dry-run")) | {"planned": 1} == summary(planned=1)
        assert standing(redrive("--json")) == summary(planned=1, sent=1)
        (result,) = reader.read_count(121, within=30)[120:]
        assert (result.reason, result.header("inspection-job-id"), result.source.partition) == (
            None,
            name,
            missing[0].partition,
        )
        assert standing(redrive("--json")) == summary(skipped={"redriven already": 1})
        assert len(reader.read_to_end()) == 121
    assert process.readyz()[0] == 200


def summary(**changes: Any) -> dict[str, Any]:
    plain = {"planned": 0, "sent": 0, "skipped": {}, "beyond_limit": 0, "not_sent": [], "not_tried": 0}
    return plain | changes


def dead(topics: Topics, letter: DeadLetter, **limits: int) -> None:
    """Lay a dead letter on its topic, as the consumer does."""
    message = encode_dead_letter(letter, **limits)
    producer = Producer({"bootstrap.servers": topics.bootstrap_servers})
    headers = list(message.headers)
    producer.produce(
        topics.dead_letters,
        message.value,
        message.key,
        partition=letter.record.partition % topics.partitions,
        headers=headers,  # type: ignore[arg-type]
    )
    assert producer.flush(20) == 0


def arrived(topics: Topics, *, beyond: int) -> list[Record]:
    """The jobs of partition 0 from that offset on."""
    with Reader(load(inspects=False), [topics.jobs], start={(topics.jobs, 0): beyond}) as reader:
        return list(reader.read_to_end())


def test_a_redriven_job_is_the_one_that_was_published_byte_for_byte(
    topics: CreateTopics, ask: Callable[[Topics], Ask]
) -> None:
    made = topics(partitions=1)
    consumer = ask(made)
    large = b"L" * 300
    made.publish([b"0", large, b"2", b"3"])
    odd: Headers = (("a", b"\xff\x00"), ("b", None), ("a", b""), ("inspection-job-id", b"mine"))
    reason: Any = {"reason": "image_not_found", "stage": "fetch", "message": "\x1b[31mgone"}
    failed_thrice = (*odd, ("inspection-redriven-count", b"3"))
    dead(made, DeadLetter(Record(made.jobs, 0, 0, 0, b"\xfe", b"\xff{", odd), "mine", index=2, **reason))
    dead(made, DeadLetter(Record(made.jobs, 0, 1, 0, None, large), "large", **reason), max_bytes=700)
    dead(made, DeadLetter(Record(made.jobs, 0, 2, 0, None, b"other"), "gone", **reason, has_value=False))
    dead(made, DeadLetter(Record(made.jobs, 0, 3, 0, None, b"3", failed_thrice), "mine", **reason))
    dead(made, DeadLetter(Record("elsewhere", 0, 3, 0, None, b"3"), "foreign", **reason))
    chat = Producer({"bootstrap.servers": made.bootstrap_servers})
    chat.produce(made.dead_letters, b"no outcome")
    assert chat.flush(20) == 0

    redrive = consumer("deadletters", "redrive", "--json", "--yes", "--by", "ann\u00e9")

    assert redrive.exit_code == 1
    told = json.loads(redrive.stdout)
    assert told | {"not_sent": []} == summary(
        planned=2, sent=2, skipped={"too often": 1, "original gone": 1, "another topic": 1}
    )
    assert [one["dead_letter"] for one in told["not_sent"]] == [f"{made.dead_letters}/0/{at}" for at in (2, 4)]
    first, second = arrived(made, beyond=4)
    assert (first.key, first.value, first.headers[:4]) == (b"\xfe", b"\xff{", odd)
    added = dict(first.headers[4:])
    place, _, written_ms = (added.pop("inspection-redriven-from") or b"").decode().partition("@")
    assert (place, written_ms.isdecimal()) == (f"{made.dead_letters}/0/0", True)
    moment = added.pop("inspection-redriven-at")
    assert moment
    assert datetime.fromisoformat(moment.decode()).tzinfo == UTC
    assert added == {
        "content-type": b"application/octet-stream",  # given to the dead letter for viewers
        "inspection-job-index": b"2",
        "inspection-redriven-by": "ann\u00e9".encode(),
        "inspection-redriven-count": b"1",
    }
    assert (second.value, second.header("inspection-job-id")) == (large, b"large")
    assert not [
        name for name, _ in second.headers if name.startswith(("__connect", "inspection-error", "inspection-o"))
    ]

    once_more = consumer("deadletters", "redrive", "--json", "--yes", "--reason", "image_not_found", "--job", "mine")
    assert standing(once_more) == summary(skipped={"redriven already": 1, "too often": 1})
    by_hand = partial(consumer, "deadletters", "redrive", "--job", "large", "--json")
    assert by_hand().exit_code == 2  # nobody to ask
    assert standing(by_hand("--again", "--yes")) == summary(planned=1, sent=1)
    assert len(arrived(made, beyond=4)) == 3

    listed = consumer("deadletters", "list")
    assert ["image_not_found", "5"] in [line.split()[:2] for line in listed.stdout.splitlines()]
    assert "passed over: record " in listed.stderr
    assert "\\x1b[31mgone" in listed.stdout
    assert "\x1b" not in listed.stdout
    assert "ff 7b" in consumer("deadletters", "show", f"{made.dead_letters}/0/0").stdout
    missing = consumer("deadletters", "show", "nobody's")
    assert missing.exit_code == 1
    assert "error: there is no dead letter of nobody's on " in missing.stderr


def test_what_could_not_be_sent_is_named(topics: CreateTopics, ask: Callable[[Topics], Ask]) -> None:
    """Retention may have taken the redriven job, the only witness of a redrive; a job may grow past its limit."""
    made = topics(partitions=1, settings={"max.message.bytes": "2000"})
    consumer = ask(made)
    made.publish([b"0", b"1", b"2"])
    for offset, value in ((0, b"0"), (2, b"x" * 1900)):
        dead(made, DeadLetter(Record(made.jobs, 0, offset, 0, None, value), "a", "image_not_found", "fetch", "gone"))
    admin = AdminClient({"bootstrap.servers": made.bootstrap_servers})
    for done in admin.delete_records([TopicPartition(made.jobs, 0, 2)]).values():
        done.result(10)

    for options, planned, named in (((), 1, (0, 1)), (("--again",), 2, (1,))):
        ended = consumer("deadletters", "redrive", "--yes", "--json", *options)
        told = json.loads(ended.stdout)
        assert ended.exit_code == 1
        assert (told["planned"], told["sent"]) == (planned, planned - 1)
        assert [one["dead_letter"] for one in told["not_sent"]] == [f"{made.dead_letters}/0/{at}" for at in named]
        assert "max.message.bytes" in told["not_sent"][-1]["why"]


def test_markers_of_transactions_are_no_jobs_that_wait(topics: CreateTopics, ask: Callable[[Topics], Ask]) -> None:
    made = topics(partitions=1)
    producer = Producer({"bootstrap.servers": made.bootstrap_servers, "transactional.id": made.group})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(made.jobs, b"aborted")
    producer.flush(20)
    producer.abort_transaction(20)

    (row,) = standing(ask(made)("status", "--json", "--every", "0.2"))["partitions"]

    assert (row["end"], row["lag"], row["oldest_seconds"]) == (2, 0, None)


def test_a_tail_follows_and_ends_quietly_with_ctrl_c(topics: CreateTopics) -> None:
    made = topics(partitions=1)
    command = [sys.executable, "-m", "consumer", "results", "tail", "--since", "earliest", "--only", "dead-letters"]
    environment = {**os.environ, **environment_of(made), "PYTHONPATH": str(ROOT)}
    dead(made, DeadLetter(Record(made.jobs, 0, 0, 0, None, b"0"), "a", "image_not_found", "fetch", "gone"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True) as tail:
        assert tail.stdout
        assert tail.stdout.readline().startswith("TIME")
        assert tail.stdout.readline().endswith("dead letter: image_not_found: gone\n")
        dead(made, DeadLetter(Record(made.jobs, 0, 1, 0, None, b"1"), "b", "image_not_found", "fetch", "gone too"))
        assert tail.stdout.readline().endswith("gone too\n")
        tail.send_signal(signal.SIGINT)
        assert tail.wait(20) == 0
        assert tail.communicate() == ("", "")


def test_a_topic_that_does_not_exist_is_one_line_and_2(topics: CreateTopics, ask: Callable[[Topics], Ask]) -> None:
    made = replace(topics(partitions=1), jobs="nowhere", results="nowhere", dead_letters="nowhere")
    consumer = ask(made)

    for command in (("status",), ("results", "tail"), ("deadletters", "list")):
        ended = consumer(*command)
        assert ended.exit_code == 2
        assert ended.stderr.startswith("error: topic nowhere does not exist on ")
        assert ended.stderr.count("\n") == 1
