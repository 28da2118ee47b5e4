"""How many partitions and replicas does a rate need, and what of network, store and brokers? See docs/scaling.md."""

import math
from collections.abc import Iterator

from msgspec import Struct

from consumer.checkup.memory import Demand
from consumer.errors import SettingsError
from consumer.planning.capacity import Capacity, advice_for, bits_in, capacity_of, work_seconds
from consumer.planning.measurements import Measurements
from consumer.planning.partitions import busiest, partitions_for
from consumer.planning.question import Question

MOST_REPLICAS = 1000
GETS_PER_PREFIX = 5500  # a second, of S3 at the least (its guide on performance)
REPLICATION = 3
TOPICS = 3
PARTITIONS_PER_BROKER = 4000  # replicas of partitions that a broker leads or follows: the usual advice (KIP-578)
BYTES_PER_BROKER = 50e6  # a second, replication included: what a modest disk and a 1 Gbit/s network bear
EARLY_DELIVERY = 250  # finished outcomes for which delivery.interval is not waited out
NINETY_NINE = math.log(100)


class Load(Struct, frozen=True):
    """What `replicas` that do `rate` images a second in all ask of their surroundings; bits and bytes a second."""

    replicas: int
    rate: float
    partitions: int
    bits_in: float
    bits_out: float
    gets: float
    prefixes: int
    records: float
    record_bytes: float
    transactions: float
    markers: float
    brokers: int
    first_limit: str


class Plan(Struct, frozen=True):
    """`utilisation` is of the busiest replica; `without_one` the same when one of them is away (above 1: lag grows).
    `latency` is the 99th percentile when caught up, `catch_up` the seconds after `question.outage`."""

    question: Question
    measurements: Measurements
    capacity: Capacity
    advice: str
    least_partitions: int
    load: Load
    utilisation: float
    without_one: float | None
    latency: float
    catch_up: float
    memory_bytes: int
    storage_bytes_per_day: float
    storage_bytes: float
    table: tuple[Load, ...]


def plan(question: Question, measured: Measurements) -> Plan:
    """Raises SettingsError where no number of replicas would do, or more than a plan covers."""
    capacity = capacity_of(question, measured)
    replicas = _replicas(question, measured, capacity)
    advice = advice_for(capacity.limit, capacity, measured)
    if replicas > MOST_REPLICAS:
        raise SettingsError(
            f"--rate: {question.rate:g} images/s need {replicas:,} replicas, a plan covers {MOST_REPLICAS:,}; one does "
            f"{capacity.rate:.1f}/s, limited by {advice}"
        )
    load = _load(replicas, question.rate, question, measured, capacity)
    most = busiest(question.rate, load.partitions, replicas)
    without_one = busiest(question.rate, load.partitions, replicas - 1) / capacity.rate if replicas > 1 else None
    storage = 86_400 * question.rate * (measured.job_bytes + measured.result_bytes) * REPLICATION
    return Plan(
        question=question,
        measurements=measured,
        capacity=capacity,
        advice=advice,
        least_partitions=replicas,
        load=load,
        utilisation=most / capacity.rate,
        without_one=without_one,
        latency=_floor(question, measured) + NINETY_NINE / (capacity.rate - most),
        catch_up=_catch_up(question, replicas * capacity.rate),
        memory_bytes=_memory(question, measured).most,
        storage_bytes_per_day=storage,
        storage_bytes=storage * question.retention_days,
        table=tuple(_table(question, measured, capacity, replicas)),
    )


def _replicas(question: Question, measured: Measurements, capacity: Capacity) -> int:
    """Enough for the headroom, for the latency where one is asked for, and always for a queue that ends."""
    each = min(capacity.rate / (1 + question.headroom), _allowed(question, measured, capacity))
    needed = max(1, math.ceil(question.rate / each - 1e-9))
    return needed if needed * capacity.rate > question.rate else needed + 1


def _allowed(question: Question, measured: Measurements, capacity: Capacity) -> float:
    """Images a second of a replica at which 99 % of its jobs are done within the latency; all that it can without one.

    A replica is taken for a queue with one server, random arrivals and random service (M/M/1), whose time in the system
    is exponential: 99 % of it lie below ln(100) / (capacity - rate).
    """
    if question.latency is None:
        return capacity.rate
    floor = _floor(question, measured)
    spare = question.latency - floor
    if spare <= NINETY_NINE / capacity.rate:
        least = floor + NINETY_NINE / capacity.rate
        fact = (
            f"no number of replicas does 99 % within {question.latency:g} s, more than {least:.3g} s can be asked for"
        )
        raise SettingsError(f"--latency: {fact}")
    return capacity.rate - NINETY_NINE / spare


def _floor(question: Question, measured: Measurements) -> float:
    """Seconds of a job that waits for nothing but the delivery, which it may just have missed."""
    return work_seconds(question, measured) + question.delivery_interval + question.commit


def _load(replicas: int, rate: float, question: Question, measured: Measurements, capacity: Capacity) -> Load:
    most = min(capacity.rate / (1 + question.headroom / 2), _allowed(question, measured, capacity))
    partitions = partitions_for(replicas, rate, most=most, capacity=capacity.rate)
    each = rate / replicas
    deliveries = min(
        each, 1 / question.commit, max(1 / max(question.delivery_interval, question.commit), each / EARLY_DELIVERY)
    )
    touched = min(partitions / replicas, each / deliveries)
    record_bytes = rate * (measured.job_bytes + measured.result_bytes)
    prefixes = math.ceil(rate / GETS_PER_PREFIX)
    by_partitions = math.ceil(TOPICS * REPLICATION * partitions / PARTITIONS_PER_BROKER)
    by_bytes = math.ceil(REPLICATION * record_bytes / BYTES_PER_BROKER)
    brokers = max(REPLICATION, by_partitions, by_bytes)
    return Load(
        replicas=replicas,
        rate=rate,
        partitions=partitions,
        bits_in=rate * bits_in(measured),
        bits_out=rate * 8 * measured.result_bytes,
        gets=rate,
        prefixes=prefixes,
        records=2 * rate,
        record_bytes=record_bytes,
        transactions=replicas * deliveries,
        markers=replicas * deliveries * (touched + 1),
        brokers=brokers,
        first_limit=_first_limit(capacity, prefixes, brokers),
    )


def _first_limit(capacity: Capacity, prefixes: int, brokers: int) -> str:
    """What has to grow beside the replicas; else what keeps each of them from more."""
    if prefixes > 1:
        return f"S3 GETs: {prefixes} prefixes"
    return f"brokers: {brokers}" if brokers > REPLICATION else capacity.limit


def _catch_up(question: Question, rate: float) -> float:
    return question.outage * question.rate / (rate - question.rate)


def _memory(question: Question, measured: Measurements) -> Demand:
    return Demand(
        resident=measured.resident_bytes,
        fetched=question.max_in_flight_bytes,
        images=question.cores,
        image=3 * question.max_pixels,
        slots=measured.slot_bytes,
    )


def _table(question: Question, measured: Measurements, capacity: Capacity, answer: int) -> Iterator[Load]:
    """For 1, 2, 4, … replicas and the answer: each as busy as the headroom lets it be."""
    doubled = {2**power for power in range(10)}
    for replicas in sorted(doubled | {answer, MOST_REPLICAS}):
        yield _load(replicas, replicas * capacity.rate / (1 + question.headroom), question, measured, capacity)
