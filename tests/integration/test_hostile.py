"""Does one process bear everything hostile that we can think of, with its neighbours untouched?"""

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition

from consumer.messages import Detection, ResultMessage
from tests.conftest import CreateTopics, StartConsumer
from tests.hostile import images, message_case, messages
from tests.hostile.message_case import BUCKET, GOOD
from tests.hostile.odd_headers import odd_producer
from tests.rigs.jobs import job, picture, settings_for
from tests.rigs.process import ConsumerProcess
from tests.rigs.s3 import S3Server
from tests.rigs.topics import Topics

pytestmark = [pytest.mark.kafka, pytest.mark.s3]

PARTITIONS = 2
NEIGHBOUR_AFTER = 8  # hostile ones
AGE = 600  # seconds: nobody waits for an image that may still come
MAX_GROWTH = 250  # megabytes, over what the process takes while it waits for its first job; 67 were seen
WITHIN = 60
RESULT = frozenset({"result"})

Place = tuple[int, int]  # partition and offset on the jobs topic
Headers = list[tuple[str, bytes | None]]


@dataclass(frozen=True)
class Sent:
    """A record to publish, and what each of its jobs may become."""

    name: str
    value: bytes | None
    outcomes: tuple[frozenset[str], ...]
    key: bytes | None = None
    headers: message_case.Headers = ()


@dataclass(frozen=True)
class Seen:
    """An outcome: where its job lies, its index, and `result` or the reason of the dead letter."""

    place: Place
    index: int
    outcome: str
    key: bytes | None
    value: bytes | None


NEIGHBOUR = Sent("neighbour", job(BUCKET, GOOD), (RESULT,), key=b"neighbour")


def test_one_process_bears_the_whole_corpus(topics: CreateTopics, s3: S3Server, start_consumer: StartConsumer) -> None:
    chosen = topics(PARTITIONS)
    put_images(s3)
    settings = settings_for(
        chosen, s3, BUCKET, limits={"dead_letter_ratio": 1.0, "dead_letter_run": 0}, images={"unavailable_after": 1}
    )
    process = start_consumer(settings, environment=s3.environment)
    process.wait_ready()
    before = memory(process, "VmRSS")

    sent = publish(chosen, list(with_neighbours()))
    seen = read(chosen, sum(len(one.outcomes) for one in sent.values()))

    assert memory(process, "VmHWM") - before < MAX_GROWTH
    assert wrong(sent, seen) == []
    assert out_of_order(seen) == []
    assert {one.key for one in seen if sent[one.place] is NEIGHBOUR} == {b"neighbour"}
    assert len({detections(one) for one in seen if sent[one.place] is NEIGHBOUR}) == 1
    process.terminate()
    assert process.wait(20) == 0
    assert [line for line in process.log_lines if line["level"] == "ERROR"] == []


def test_a_header_name_that_is_no_text_costs_its_own_job_alone(
    topics: CreateTopics, s3: S3Server, bucket: str, start_consumer: StartConsumer
) -> None:
    """Python's producer refuses to send one; those of Go and C do not."""
    chosen = topics(partitions=1)
    s3.put(bucket, GOOD, picture(64, 64))
    good = job(bucket, GOOD)
    with odd_producer(bootstrap_servers=chosen.bootstrap_servers) as producer:
        for name in (b"plain", b"caf\xe9", b"plain"):
            producer.send(chosen.jobs, good, name)
    settings = settings_for(chosen, s3, bucket)
    process = start_consumer(settings, environment=s3.environment, arguments=("--until-caught-up",))
    assert process.wait(60) == 0
    seen = read(chosen, 3, partitions=1)
    assert sorted((one.place, one.outcome) for one in seen) == [
        ((0, 0), "result"),
        ((0, 1), "schema_invalid"),
        ((0, 2), "result"),
    ]


def put_images(s3: S3Server) -> None:
    s3.create_bucket(BUCKET)
    objects = {GOOD: picture(320, 240)} | {case.key: case.content for case in images.CASES}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put(BUCKET, key, objects[key]), objects))


def with_neighbours() -> Iterator[Sent]:
    hostile = [
        *(Sent(case.name, job(BUCKET, case.key), (case.outcomes,)) for case in images.CASES),
        *(
            Sent(case.name, case.value, tuple(frozenset({name}) for name in case.outcomes), case.key, case.headers)
            for case in messages.CASES
        ),
    ]
    for number, one in enumerate(hostile):
        yield one
        if number % NEIGHBOUR_AFTER == 0:
            yield NEIGHBOUR


def publish(topics: Topics, records: list[Sent]) -> dict[Place, Sent]:
    """In turns over the partitions; returns what lies where."""
    producer = Producer({"bootstrap.servers": topics.bootstrap_servers, "message.max.bytes": 2_000_000})
    places: dict[Place, Sent] = {}

    def note(error: object, record: Message, *, one: Sent) -> None:
        assert error is None, f"{one.name}: {error}"
        places[record.partition() or 0, record.offset() or 0] = one

    for number, one in enumerate(records):
        producer.produce(
            topics.jobs,
            one.value,
            one.key,
            partition=number // (NEIGHBOUR_AFTER + 1) % PARTITIONS,
            headers=list(one.headers),
            timestamp=round((time.time() - AGE) * 1000),
            on_delivery=partial(note, one=one),
        )
        producer.poll(0)
    assert producer.flush(WITHIN) == 0
    return places


def read(topics: Topics, count: int, *, partitions: int = PARTITIONS) -> list[Seen]:
    """So many committed outcomes, and a moment longer, in which there must be no more."""
    reader = Consumer(
        {
            "bootstrap.servers": topics.bootstrap_servers,
            "group.id": "reader-of-hostile-outcomes",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }
    )
    seen: list[Seen] = []
    end = time.monotonic() + WITHIN
    with contextlib.closing(reader):
        outputs = [(topic, number) for topic in topics.outcomes for number in range(partitions)]
        reader.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for topic, number in outputs])
        while len(seen) < count and time.monotonic() < end:
            seen += map(outcome, reader.consume(1000, 0.2))
        seen += map(outcome, reader.consume(1000, 0.5))
    return seen


def outcome(record: Message) -> Seen:
    """By the last header of a name: the job may have brought others."""
    assert record.error() is None
    headers: dict[str, bytes | None] = dict(record.headers() or [])  # type: ignore[arg-type]
    value = record.value()
    if "inspection-error-reason" not in headers:
        source = msgspec.json.decode(value or b"", type=ResultMessage).source
        return Seen((source.partition, source.offset), source.index, "result", record.key(), value)
    partition, offset = (int(headers[f"__connect.errors.{name}"] or b"") for name in ("partition", "offset"))
    index = headers.get("inspection-job-index") or b""
    reason = (headers["inspection-error-reason"] or b"").decode()
    return Seen((partition, offset), int(index) if index.isdigit() else 0, reason, record.key(), value)


def wrong(sent: dict[Place, Sent], seen: list[Seen]) -> list[tuple[str, list[str]]]:
    """The records whose jobs became something else than their cases say, or more, or less."""
    found: defaultdict[Place, list[Seen]] = defaultdict(list)
    for one in seen:
        found[one.place].append(one)
    return [
        (sent[place].name if place in sent else "unknown", [one.outcome for one in came])
        for place in {*sent, *found}
        if not (place in sent and fits(sent[place], came := sorted(found[place], key=lambda one: one.index)))
    ]


def fits(one: Sent, came: list[Seen]) -> bool:
    return len(came) == len(one.outcomes) and all(
        seen.outcome in allowed for seen, allowed in zip(came, one.outcomes, strict=True)
    )


def out_of_order(seen: list[Seen]) -> list[Place]:
    """`seen` has each output partition in its own order, and results and dead letters are two topics."""
    newest: dict[tuple[bool, int], Place] = {}
    late = []
    for one in seen:
        stream = one.outcome == "result", one.place[0]
        if one.place < newest.get(stream, one.place):
            late.append(one.place)
        newest[stream] = one.place
    return late


def detections(one: Seen) -> tuple[Detection, ...]:
    return msgspec.json.decode(one.value or b"", type=ResultMessage).detections


def memory(process: ConsumerProcess, name: str) -> int:
    """Megabytes: `VmRSS` now, or `VmHWM` at most."""
    status = Path(f"/proc/{process.process_id}/status").read_text()
    return next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith(name))
