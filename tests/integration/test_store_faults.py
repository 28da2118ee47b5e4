"""Is an outage of the store told from one object that cannot be had, and what does either hold up?"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import pytest

from tests.conftest import CreateTopics, StartConsumer
from tests.rigs.deadline import wait_until
from tests.rigs.jobs import job, picture, settings_for
from tests.rigs.kafka import Kafka
from tests.rigs.outcomes import Outcome, OutcomeReader, judge
from tests.rigs.process import ConsumerProcess
from tests.rigs.s3 import S3Server
from tests.rigs.s3_proxy import Fault, S3Proxy

pytestmark = [pytest.mark.kafka, pytest.mark.s3]

JOBS = 5
OUTAGES = (Fault.ERROR, Fault.SLOW_DOWN, Fault.RESET, Fault.CUT, Fault.SILENCE)


def test_an_outage_of_any_kind_is_no_dead_letter_and_passes_by_itself(
    s3: S3Server, bucket: str, topics: CreateTopics, start_consumer: StartConsumer
) -> None:
    s3.put(bucket, "a.jpg", picture(64, 64))
    with ExitStack() as stack:
        proxies = {fault: stack.enter_context(S3Proxy(s3)) for fault in OUTAGES}
        mine = {fault: topics(partitions=1) for fault in OUTAGES}
        processes = {
            fault: start_consumer(
                settings_for(
                    mine[fault],
                    s3,
                    bucket,
                    s3={"endpoint_url": proxies[fault].endpoint_url},
                    images={"unavailable_after": 0.1},
                    limits={"job_deadline": 1},
                ),
                name=fault.name,
                environment=s3.environment,
            )
            for fault in OUTAGES
        }
        for fault, process in processes.items():
            process.wait_ready()
            proxies[fault].fail(fault)
            mine[fault].publish([job(bucket, "a.jpg")] * JOBS)
        for fault, process in processes.items():
            wait_until(partial(is_red, process), within=30, what=f"{fault.name} is noticed")
            wait_until(partial(has_retried, process, JOBS), within=30, what=f"{fault.name} is waited for")
            assert process.livez()[0] == 200
            assert process.metric("inspection_jobs_total") == 0
            proxies[fault].heal()
        for fault, process in processes.items():
            process.wait_ready(within=20)
            wait_until(partial(has_done, process), within=20, what=f"{JOBS} jobs are done after {fault.name}")
            assert process.metric("inspection_jobs_total", outcome="dead_letter") == 0


def is_red(process: ConsumerProcess) -> bool:
    status, checks = process.readyz()
    return status == 503 and checks["store"] != "ok"


def has_done(process: ConsumerProcess) -> bool:
    return process.metric("inspection_jobs_total") == JOBS


def has_retried(process: ConsumerProcess, times: int) -> bool:
    return process.metric("inspection_retries_total", stage="fetch") >= times


def test_a_stuck_object_holds_up_its_own_partition_alone_though_the_budget_is_one_image(
    kafka: Kafka, s3: S3Server, bucket: str, topics: CreateTopics, start_consumer: StartConsumer
) -> None:
    image = picture(640, 480)
    for key in ("a.jpg", "stuck.jpg"):
        s3.put(bucket, key, image)
    mine = topics(partitions=3)
    with S3Proxy(s3) as proxy, OutcomeReader(kafka.bootstrap_servers, mine.outcomes) as reader:
        settings = settings_for(
            mine,
            s3,
            bucket,
            s3={"endpoint_url": proxy.endpoint_url},
            limits={"max_in_flight": 48, "max_in_flight_bytes": len(image)},
        )
        proxy.fail(Fault.STALL, "stuck.jpg")  # its half is read, so it holds the whole budget
        process = start_consumer(settings, environment=s3.environment)
        stuck = mine.publish([job(bucket, "stuck.jpg")], partition=0)
        wait_until(lambda: proxy.asked("stuck.jpg") > 0, within=60, what="the stuck object is asked for")
        behind = mine.publish([job(bucket, "a.jpg")] * 10, partition=0)
        beside = [
            source for partition in (1, 2) for source in mine.publish([job(bucket, "a.jpg")] * 10, partition=partition)
        ]
        reader.read_until(from_partitions({1, 2}, 20), within=60)
        assert [outcome for outcome in reader.outcomes if outcome.source.partition == 0] == []
        assert process.metric("inspection_in_flight_jobs") <= 48
        proxy.heal()
        seen = reader.read_count(31, within=60)
    assert judge([*stuck, *behind, *beside], seen).is_clean
    assert [outcome.reason for outcome in seen] == [None] * 31


def from_partitions(partitions: set[int], count: int) -> Callable[[list[Outcome]], bool]:
    return lambda seen: sum(outcome.source.partition in partitions for outcome in seen) >= count
