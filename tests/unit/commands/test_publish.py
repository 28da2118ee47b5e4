"""What does `consumer publish` say and end with, on the mock cluster and a store that does as it is told?"""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner, Result

from consumer.__main__ import app
from consumer.errors import Unavailable
from consumer.images import upload
from consumer.kafka.publisher import Publisher
from consumer.kafka.reader import Reader
from consumer.publishing import publication
from consumer.settings import load
from tests.rigs.full_disk import files_of_at_most
from tests.rigs.listing import ListedBucket
from tests.unit.images.stub import StubStore, answer, s3_error

ROOT = Path(__file__).parents[3]
NOBODY = "127.0.0.1:9"
URI = "s3://parts/line-3/0001.jpg"
Publish = Callable[..., Result]


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Publish:
    """`publish("-", "--wait", input=b"…")`, with credentials, a broker and a store that nobody has."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "CONSUMER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("CONSUMER__KAFKA__BOOTSTRAP_SERVERS", NOBODY)
    monkeypatch.setenv("CONSUMER__S3__ENDPOINT_URL", f"http://{NOBODY}")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return lambda *arguments, input=b"": CliRunner().invoke(app, ["publish", *arguments], input=input)  # noqa: A006


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch, publish: Publish) -> Iterator[str]:
    owner = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    brokers = owner.list_topics(timeout=10).brokers.values()
    servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    monkeypatch.setenv("CONSUMER__KAFKA__BOOTSTRAP_SERVERS", servers)
    yield servers
    owner.purge()


def published() -> list[dict[str, Any]]:
    with Reader(load(inspects=False), ["inspection.jobs"]) as reader:
        return [json.loads(record.value or b"") for record in reader.read_to_end()]


@pytest.mark.parametrize(
    ("arguments", "given", "code", "says"),
    [
        (("/nowhere", "--to", "s3://parts"), b"", 2, "error: /nowhere does not exist: expected a folder, s3://"),
        ((".",), b"", 2, "error: . is taken for a folder: --to s3://bucket/prefix says where"),
        ((".", "--to", "s3://parts"), b"", 1, "error: .: nothing to publish"),
        ((".", "--to", "parts/a"), b"", 2, "error: --to: expected s3://bucket/prefix, got 'parts/a'"),
        (("s3://", "--dry-run"), b"", 2, "error: SOURCE: expected s3://bucket/prefix, got 's3://'"),
        (("s3://Parts/a",), b"", 2, "error: SOURCE: 'Parts' is no bucket name that S3 allows"),
        (("s3://parts/\udcff",), b"", 2, r"error: SOURCE: '\udcff' is not valid UTF-8"),
        (("s3://parts/", "--start-after", "\udcff"), b"", 2, r"error: --start-after: '\udcff' is not valid UTF-8"),
        (("-", "--to", "s3://parts"), b"", 2, "error: --to: images are uploaded from a folder alone, not from -"),
        (("-", "--start-after", "a"), b"", 2, "error: --start-after: a prefix alone"),
        (("-",), b"\n \n", 1, "error: stdin: nothing to publish"),
        (("-",), b"{broken\n", 2, "error: stdin line 1: $: JSON is malformed"),
        (("-",), f"{URI}\nnonsense".encode(), 2, "error: stdin line 2: expected s3://bucket/key or a job in JSON"),
        (("-", "--metadata", "{"), URI.encode(), 2, "error: --metadata: "),
        (("-", "--settings", "/nowhere.yaml"), b"", 2, "error: settings file /nowhere.yaml does not exist"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(
    publish: Publish, arguments: tuple[str, ...], given: bytes, code: int, says: str
) -> None:
    result = publish(*arguments, input=given)

    assert result.exit_code == code
    assert result.stderr.startswith(says)
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize("option", [("--key", "imag"), ("--rate", "0"), ("--limit", "0"), ("--timeout", "-1"), ("-x",)])
def test_a_wrong_option_is_named_with_2(publish: Publish, option: tuple[str, ...]) -> None:
    result = publish("-", *option)

    assert result.exit_code == 2
    assert option[0] in result.stderr


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [("404 Not Found", "NoSuchBucket", 2), ("403 Forbidden", "AccessDenied", 2)],
)
def test_a_bucket_that_may_not_be_listed_is_named(
    publish: Publish, monkeypatch: pytest.MonkeyPatch, status: str, code: str, exit_code: int
) -> None:
    with StubStore() as stub:
        stub.say(s3_error(status, code))
        monkeypatch.setenv("CONSUMER__S3__ENDPOINT_URL", stub.endpoint_url)
        result = publish("s3://parts/line-3/")

    assert result.exit_code == exit_code
    assert result.stderr == f"error: s3://parts/line-3/ cannot be listed: {code} (said the stub)\n"


@pytest.mark.thorough
def test_a_store_that_does_not_answer_is_3(publish: Publish) -> None:
    result = publish("s3://parts/line-3/")

    assert result.exit_code == 3
    assert result.stderr.startswith("error: s3://parts/line-3/ cannot be listed: network ")
    assert result.stderr.count("\n") == 1


def test_a_broker_that_does_not_answer_is_3(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publication, "Publisher", partial(Publisher, timeout=0.5))

    result = publish("-", input=URI.encode())

    assert result.exit_code == 3
    assert result.stderr.startswith(f"error: kafka broker {NOBODY} does not answer: ")
    assert result.stderr.count("\n") == 1


def test_a_dry_run_prints_what_would_be_sent_and_asks_no_broker(publish: Publish, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "note.txt").write_bytes(b"x")

    result = publish(".", "--to", "s3://parts/line-3", "--dry-run")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "schema": "inspection.job/1",
        "image": {"bucket": "parts", "key": "line-3/a.jpg"},
    }
    assert result.stderr == "1 job would be sent to inspection.jobs; nothing was\n"

    again = publish("-", "--dry-run", "--json", "--key", "folder", input=result.stdout_bytes)
    assert json.loads(again.stdout) == {"key": "line-3", "value": json.loads(result.stdout)}


def test_a_bucket_that_the_consumers_may_not_read_is_warned_of_once(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSUMER__IMAGES__ALLOWED_BUCKETS", '["parts"]')

    result = publish("-", "--dry-run", input=f"{URI}\ns3://other/a.jpg\ns3://other/b.jpg\n".encode())

    assert result.exit_code == 0
    assert result.stderr.splitlines()[0] == (
        "warning: bucket other is not in images.allowed_buckets: its jobs become dead letters"
    )
    assert result.stderr.count("warning") == 1


@pytest.mark.thorough
def test_a_prefix_becomes_jobs_of_which_some_can_be_asked_for(
    publish: Publish, broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ListedBucket(2500) as bucket:
        monkeypatch.setenv("CONSUMER__S3__ENDPOINT_URL", bucket.endpoint_url)
        result = publish("s3://big/line-3/", "--match", "*7.jpg", "--limit", "110", "--json", "--metadata", "[3]")

        behind = publish("s3://big/line-3/", "--start-after", "line-3/0002497.jpg")

    assert result.exit_code == 0
    said = json.loads(result.stdout)
    assert said["published"] == 110
    assert said["unsent"] == {"count": 0, "file": None, "first": []}
    assert behind.stdout.startswith("published 2 jobs to inspection.jobs in ")
    jobs = published()
    keys = sorted(job["image"]["key"] for job in jobs)
    assert keys == [f"line-3/{number:07}.jpg" for number in [*range(7, 1100, 10), 2498, 2499]]
    assert sum(job.get("metadata") == [3] for job in jobs) == 110


@pytest.mark.thorough
def test_jobs_that_were_not_sent_are_named_and_can_be_sent_again(
    publish: Publish, broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSUMER__KAFKA__EXTRA", '{"message.max.bytes": 2000}')
    large = json.dumps({"image": "s3://parts/large.jpg", "metadata": "x" * 3000})

    result = publish("-", input=f"{URI}\n{large}\n{URI}\n".encode())

    assert result.exit_code == 1
    assert result.stdout.startswith("published 2 jobs to inspection.jobs in ")
    assert result.stderr.startswith("error: 1 of 3 jobs were not sent (s3://parts/large.jpg: MSG_SIZE_TOO_LARGE")
    file = Path(result.stderr.split("consumer publish - < ")[1].strip())
    monkeypatch.setenv("CONSUMER__KAFKA__EXTRA", "{}")
    again = publish("-", input=file.read_bytes())
    file.unlink()
    assert again.exit_code == 0
    assert sorted(str(job["image"]) for job in published()) == sorted(["s3://parts/large.jpg", URI, URI])


FIRST_PAGE = answer(
    b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>7</NextContinuationToken>"
    b"<Contents><Key>line-3/1.jpg</Key><Size>3</Size></Contents><Contents><Key>line-3/2.jpg</Key><Size>3</Size></Contents>"
    b"<Contents><Key>line-3/../3.jpg</Key><Size>3</Size></Contents></ListBucketResult>"
)


def signalled(stub: StubStore, one: signal.Signals) -> Iterable[bytes]:
    """The person loses patience with a store that says nothing; once, whoever asks again and when."""
    if signal.getsignal(one) not in (signal.SIG_DFL, signal.default_int_handler):  # the command still listens
        os.kill(os.getpid(), one)
    yield from stub.stall()


def named_file(said: str) -> list[str]:
    """The image keys in the file that was named, which is removed."""
    file = Path(said.split("consumer publish - < ")[1].split(maxsplit=1)[0])
    keys = [json.loads(line)["image"]["key"] for line in file.read_bytes().splitlines()]
    file.unlink()
    return keys


def test_when_the_source_fails_what_was_taken_and_what_was_not_sent_is_said_first(
    publish: Publish, broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSUMER__KAFKA__EXTRA", '{"message.max.bytes": 2000}')
    with StubStore() as stub:
        monkeypatch.setenv("CONSUMER__S3__ENDPOINT_URL", stub.endpoint_url)
        stub.say(FIRST_PAGE, s3_error("403 Forbidden", "AccessDenied"))
        result = publish("s3://parts/line-3/", "--metadata", json.dumps("x" * 3000))

    assert result.exit_code == 2
    assert result.stdout.startswith("published 0 jobs to inspection.jobs in ")
    assert "skipped: names that cannot be fetched 1" in result.stdout
    left_out, told, error = result.stderr.splitlines()
    assert left_out.startswith("warning: left out: key 'line-3/../3.jpg' of bucket parts has a '.' or '..' segment")
    assert told.startswith("the last job taken was s3://parts/line-3/2.jpg; 2 of 2 jobs were not sent (s3://parts/")
    assert error == "error: s3://parts/line-3/ cannot be listed: AccessDenied (said the stub)"
    assert named_file(told) == ["line-3/1.jpg", "line-3/2.jpg"]


def test_when_the_outcomes_cannot_be_read_what_was_sent_is_said_first(
    publish: Publish, broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise Unavailable("broker", "kafka broker is gone")

    monkeypatch.setattr(publication.Publication, "wait", fail)

    result = publish("-", input=f"{URI}\n{URI}\n".encode())

    assert result.exit_code == 3
    assert result.stdout.startswith("published 2 jobs to inspection.jobs in ")
    assert result.stderr.splitlines() == [f"the last job taken was {URI}", "error: kafka broker is gone"]


@pytest.mark.thorough
def test_a_signal_ends_a_listing_that_hangs_and_says_how_far_it_came(
    publish: Publish, broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with StubStore() as stub:
        monkeypatch.setenv("CONSUMER__S3__ENDPOINT_URL", stub.endpoint_url)
        stub.say(FIRST_PAGE, partial(signalled, stub, signal.SIGTERM))
        result = publish("s3://parts/line-3/")

    assert result.exit_code == 130
    assert result.stdout.startswith("published 2 jobs to inspection.jobs in ")
    assert result.stderr.splitlines()[-1] == "interrupted; the last job taken was s3://parts/line-3/2.jpg"


def test_a_signal_ends_an_upload_that_hangs(
    publish: Publish, broker: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The threads that hang in it keep neither the command nor the process."""
    monkeypatch.setattr(upload, "_FAREWELL", 0.1)
    (tmp_path / "a.jpg").write_bytes(b"x")
    with StubStore() as stub:
        monkeypatch.setenv("CONSUMER__S3__ENDPOINT_URL", stub.endpoint_url)
        stub.say(partial(signalled, stub, signal.SIGINT))
        result = publish(".", "--to", "s3://parts/line-3")
        hanging = [thread for thread in threading.enumerate() if thread.name.startswith("upload")]
        assert hanging
        assert all(thread.daemon for thread in hanging)

    assert result.exit_code == 130
    assert result.stderr.startswith("interrupted; 0 images are uploaded, no job is published; ")


def test_a_full_disk_is_said_in_the_line_that_names_what_was_not_sent(
    publish: Publish, broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSUMER__KAFKA__EXTRA", '{"message.max.bytes": 2000}')
    large = json.dumps({"image": "s3://parts/large.jpg", "metadata": "x" * 3000})
    with files_of_at_most(100):
        result = publish("-", input=f"{URI}\n{large}\n{URI}\n".encode())

    assert result.exit_code == 1
    assert result.stderr.startswith("error: 1 of 3 jobs were not sent (s3://parts/large.jpg: MSG_SIZE_TOO_LARGE")
    assert result.stderr.endswith("), 2 were acknowledged; no file has them: File too large\n")
    assert result.stderr.count("\n") == 1


def test_what_was_not_sent_is_named_though_the_summary_cannot_be_written(
    publish: Publish, broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("CONSUMER__KAFKA__EXTRA", '{"message.max.bytes": 2000}')
    monkeypatch.setattr("consumer.commands.publish.write_line", fail)
    large = json.dumps({"image": {"bucket": "parts", "key": "large.jpg"}, "metadata": "x" * 3000})

    result = publish("-", "--json", input=large.encode())

    assert result.exit_code == 1
    told, error = result.stderr.splitlines()
    assert named_file(told) == ["large.jpg"]
    assert error == "error: output: No space left on device"


def test_a_closed_stdin_is_one_line(publish: Publish) -> None:
    command = f'"{sys.executable}" -m consumer publish - <&-'
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (2, "error: -: stdin is closed\n")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_million_objects_take_no_more_memory_than_ten_thousand(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = {}
    with ListedBucket(0) as bucket:
        monkeypatch.setenv("CONSUMER__S3__ENDPOINT_URL", bucket.endpoint_url)
        for bucket.count in (10_000, 1_000_000):
            done = subprocess.run([sys.executable, "-c", MEASURED], cwd=ROOT, capture_output=True, check=True)
            said = json.loads(done.stdout)
            assert said["published"] == bucket.count
            peaks[bucket.count] = int(done.stderr)

    assert peaks[1_000_000] < peaks[10_000] + 8 * 1024  # KiB


MEASURED = """
import resource, sys
from consumer.publishing import publication
from consumer.__main__ import app
from consumer.kafka.publisher import Publisher
try:
    app(["publish", "s3://big/line-3/", "--json"])
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""
