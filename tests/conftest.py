"""The real servers of the tests: started when a test first asks, stopped with the session."""

import ctypes
import os
import re
import signal
import struct
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from tests.rigs.kafka import Kafka, KafkaCluster, KafkaUnavailable, kafka_source, open_cluster, open_kafka
from tests.rigs.kafka_proxy import ProxiedKafka, open_proxied
from tests.rigs.kafka_secured import SecuredKafka, open_secured
from tests.rigs.process import ConsumerProcess
from tests.rigs.s3 import S3Server
from tests.rigs.topics import Topics, create_topics, delete_topics

Server = TypeVar("Server")
_LOGS = pytest.StashKey[list[ConsumerProcess]]()


class CreateTopics(Protocol):
    """`topics(partitions=12)`, with topic settings such as {"max.message.bytes": "2000"}."""

    def __call__(
        self, partitions: int = 3, *, settings: dict[str, str] | None = None, kafka: Kafka | None = None
    ) -> Topics: ...


class StartConsumer(Protocol):
    """`start_consumer(settings, name="b")`: a started process, killed when the test ends."""

    def __call__(
        self,
        settings: dict[str, Any],
        *,
        name: str = "consumer",
        environment: dict[str, str] | None = None,
        arguments: tuple[str, ...] = (),
        command: tuple[str, ...] = ("run",),
    ) -> ConsumerProcess: ...


def pytest_report_header() -> str:
    try:
        source = kafka_source()
    except KafkaUnavailable as error:
        source = f"none ({error})"
    return f"kafka: {source}; s3: SeaweedFS"


@pytest.fixture(autouse=True)
def _bears_signals() -> None:
    """After OpenVINO compiled a model the main thread has an alternate signal stack of the least size that the CPU asks
    for (11,568 bytes were seen), and a signal that a test sends would end the process by SIGSEGV."""
    none = struct.pack("PiN", 0, 2, 0)  # stack_t with SS_DISABLE
    ctypes.CDLL(None).sigaltstack(none, None)


@pytest.fixture(scope="session", autouse=True)
def _hears_ctrl_c() -> None:
    """A shell starts what runs in its background with SIGINT ignored, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    """One real broker for the whole session; tests keep apart by their topics."""
    yield from _or_skip(open_kafka)


@pytest.fixture(scope="session")
def kafka_cluster() -> Iterator[KafkaCluster]:
    """Three real nodes that a test (marked `cluster`) may stop, but must leave running."""
    yield from _or_skip(lambda: open_cluster(3))


@pytest.fixture(scope="session")
def proxied_kafka() -> Iterator[ProxiedKafka]:
    """One real broker whose clients' requests a test may hold up; it lets go of them before it ends."""
    yield from _or_skip(open_proxied)


@pytest.fixture(scope="session")
def secured() -> Iterator[SecuredKafka]:
    """One real broker that asks who one is and what one may do."""
    yield from _or_skip(open_secured)


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """One real S3 server for the whole session; a test that stops it starts it again."""
    with S3Server() as server:
        yield server


@pytest.fixture
def bucket(s3: S3Server) -> str:
    """An empty bucket of this test's own."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(name)
    return name


@pytest.fixture
def topics(request: pytest.FixtureRequest) -> Iterator[CreateTopics]:
    """Make jobs, results and dead letters topics with names of this test's own; gone after it.

    On the session's broker, or on the Kafka that is given.
    """
    with ExitStack() as stack:

        def create(
            partitions: int = 3, *, settings: dict[str, str] | None = None, kafka: Kafka | None = None
        ) -> Topics:
            chosen: Kafka = kafka or request.getfixturevalue("kafka")
            words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:60].strip("-")
            name = f"{words}-{uuid.uuid4().hex[:8]}"
            created = create_topics(chosen.bootstrap_servers, name, partitions=partitions, settings=settings)
            stack.callback(delete_topics, created)
            return created

        yield create


@pytest.fixture
def start_consumer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartConsumer]:
    """Start `consumer run` processes, or others; the log of each is part of the report of a failed test."""
    processes = request.node.stash.setdefault(_LOGS, [])
    with ExitStack() as stack:

        def start(
            settings: dict[str, Any],
            *,
            name: str = "consumer",
            environment: dict[str, str] | None = None,
            arguments: tuple[str, ...] = (),
            command: tuple[str, ...] = ("run",),
        ) -> ConsumerProcess:
            process = ConsumerProcess(
                tmp_path, settings, name=name, environment=environment, arguments=arguments, command=command
            )
            processes.append(process)
            return stack.enter_context(process)

        yield start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections += [(f"log of {process.name}", process.log[-20_000:]) for process in item.stash.get(_LOGS, [])]
    return report


def _or_skip(open_server: Callable[[], AbstractContextManager[Server]]) -> Iterator[Server]:
    """Give the server; where there is none, skip with the reason, or fail in CI: a skipped proof is none."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(open_server())
        except KafkaUnavailable as error:
            if os.environ.get("CI", "").lower() == "true":
                pytest.fail(str(error))
            pytest.skip(str(error))
        yield server
