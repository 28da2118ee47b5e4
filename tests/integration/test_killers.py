"""What does a job cost whose image ends every process that inspects it?"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.conftest import CreateTopics, StartConsumer
from tests.rigs.deadline import wait_until
from tests.rigs.jobs import job, picture, red_picture, settings_for
from tests.rigs.kafka import Kafka
from tests.rigs.memory_limit import NoMemoryLimit, memory_limit
from tests.rigs.outcomes import Outcome, OutcomeReader, Source, judge
from tests.rigs.process import ConsumerProcess
from tests.rigs.s3 import S3Server
from tests.rigs.s3_proxy import Fault, S3Proxy
from tests.rigs.topics import Topics

pytestmark = [pytest.mark.kafka, pytest.mark.s3, pytest.mark.timeout(400)]

DEADLY = {"engine": "tests.stand_ins:deadly_engine"}
MOST_DEATHS = 5  # of one killer


def put_images(s3: S3Server, bucket: str) -> None:
    s3.put(bucket, "killer.jpg", red_picture())
    s3.put(bucket, "good.jpg", picture(64, 64))


def publish(topics: Topics, bucket: str, count: int, killers: set[int]) -> tuple[list[Source], set[Source]]:
    sources = topics.publish(job(bucket, "killer.jpg" if number in killers else "good.jpg") for number in range(count))
    return sources, {sources[number] for number in killers}


class Supervisor:
    """Starts again what has died, as Kubernetes does, and counts."""

    def __init__(self, replicas: list[ConsumerProcess]) -> None:
        self.replicas = replicas
        self.deaths = 0

    def look(self) -> None:
        for replica in self.replicas:
            if not replica.is_running:
                replica.start()
                self.deaths += 1

    def read_count(self, reader: OutcomeReader, count: int, *, within: float) -> list[Outcome]:
        def all_there(seen: list[Outcome]) -> bool:
            self.look()
            return len(seen) >= count

        reader.read_until(all_there, within=within)
        return reader.read_to_end()


def fleet(
    start_consumer: StartConsumer,
    s3: S3Server,
    topics: Topics,
    bucket: str,
    death: dict[str, str],
    *names: str,
    protocol: str = "classic",
) -> Supervisor:
    """Replicas whose place in the group and transactions wait for them, so that a restart takes over at once."""
    replicas = []
    for name in names:
        extra = {"group.instance.id": name, "session.timeout.ms": 30_000} if protocol == "classic" else {}
        settings = settings_for(
            topics,
            s3,
            bucket,
            model=DEADLY,
            kafka={"group_protocol": protocol, "extra": extra},
            delivery={"slot": name},
            limits={"job_deadline": 2},
        )
        replicas.append(start_consumer(settings, name=name, environment=s3.environment | death))
    return Supervisor(replicas)


def assert_only_killers_paid(sources: list[Source], killers: set[Source], seen: list[Outcome]) -> None:
    verdict = judge(sources, seen)
    assert verdict.is_clean, str(verdict)
    assert {outcome.source: outcome.reason for outcome in seen if outcome.reason} == dict.fromkeys(
        killers, "process_killed"
    )


def test_a_killer_is_set_aside_after_few_deaths_and_its_neighbours_are_done_once(
    kafka: Kafka, s3: S3Server, bucket: str, topics: CreateTopics, start_consumer: StartConsumer
) -> None:
    mine = topics(partitions=2)
    put_images(s3, bucket)
    sources, killers = publish(mine, bucket, 60, {31})
    with OutcomeReader(kafka.bootstrap_servers, mine.outcomes) as reader:
        supervisor = fleet(start_consumer, s3, mine, bucket, {}, "a")
        seen = supervisor.read_count(reader, len(sources), within=120)
    assert_only_killers_paid(sources, killers, seen)
    assert 3 <= supervisor.deaths <= MOST_DEATHS
    [letter] = [outcome for outcome in seen if outcome.reason]
    assert letter.value == job(bucket, "killer.jpg")
    assert letter.header("inspection-error-attempts") == "3"


@contextmanager
def cgroup(death: str) -> Iterator[dict[str, str]]:
    """The variables of a way to die; a memory hog has its own limit."""
    with ExitStack() as stack:
        variables = {"STAND_IN_DEATH": death}
        if death == "hog":
            try:
                variables["STAND_IN_CGROUP"] = str(stack.enter_context(memory_limit(256 * 2**20)))
            except NoMemoryLimit as error:
                pytest.skip(str(error))
        yield variables


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
@pytest.mark.parametrize("death", ["kill", "segfault", "abort", "hog", "hang"])
def test_several_killers_cost_several_replicas_a_bounded_number_of_deaths(
    kafka: Kafka,
    s3: S3Server,
    bucket: str,
    topics: CreateTopics,
    start_consumer: StartConsumer,
    death: str,
    protocol: str,
) -> None:
    mine = topics(partitions=4)
    put_images(s3, bucket)
    sources, killers = publish(mine, bucket, 400, {40, 41, 202})
    with cgroup(death) as variables, OutcomeReader(kafka.bootstrap_servers, mine.outcomes) as reader:
        supervisor = fleet(start_consumer, s3, mine, bucket, variables, "a", "b", protocol=protocol)
        seen = supervisor.read_count(reader, len(sources), within=380)
        for replica in supervisor.replicas:
            replica.kill()
    assert_only_killers_paid(sources, killers, seen)
    assert supervisor.deaths <= MOST_DEATHS * len(killers)


@pytest.mark.slow
def test_kills_during_an_outage_of_the_store_cost_no_job(
    kafka: Kafka, s3: S3Server, bucket: str, topics: CreateTopics, start_consumer: StartConsumer
) -> None:
    mine = topics(partitions=2)
    put_images(s3, bucket)
    with S3Proxy(s3) as proxy, OutcomeReader(kafka.bootstrap_servers, mine.outcomes) as reader:
        settings = settings_for(
            mine,
            s3,
            bucket,
            s3={"endpoint_url": proxy.endpoint_url},
            kafka={"extra": {"group.instance.id": "a", "session.timeout.ms": 30_000}},
            delivery={"slot": "a"},
        )
        replica = start_consumer(settings, environment=s3.environment)
        replica.wait_ready()
        proxy.fail(Fault.SLOW_DOWN, "good.jpg")
        sources = mine.publish([job(bucket, "good.jpg")] * 40)
        for _ in range(5):
            wait_until(lambda: has_tried(replica), within=60, what="some jobs are being fetched")
            replica.kill()
            replica.start()
        wait_until(lambda: has_tried(replica), within=60, what="the last owner fetches too")
        proxy.heal()
        seen = reader.read_count(len(sources), within=120)
    assert judge(sources, seen).is_clean
    assert {outcome.reason for outcome in seen} == {None}


def has_tried(replica: ConsumerProcess) -> bool:
    try:
        return replica.metric("inspection_retries_total", stage="fetch") >= 2
    except ConnectionError:
        return False
