"""How many images a second does one replica do, and what keeps it from more?"""

from typing import Literal, get_args

from msgspec import Struct

from consumer.planning.measurements import Measurements
from consumer.planning.question import Question

Limit = Literal["engine", "cores", "jobs in hand", "delivery", "network"]
LIMITS: tuple[Limit, ...] = get_args(Limit)

MOST_PER_DELIVERY = 500  # outcomes in one transaction
REQUEST_BYTES = 1000  # a signed GET, and the headers of its answer


class Capacity(Struct, frozen=True):
    """Images a second that each limit would allow alone; `cpu_seconds` of one image, in all; `residence` is how long a
    job is in hand where nothing is waited for but what it needs."""

    bounds: dict[Limit, float]
    cpu_seconds: float
    residence: float

    @property
    def limit(self) -> Limit:
        return min(self.bounds, key=self.bounds.__getitem__)

    @property
    def rate(self) -> float:
        return self.bounds[self.limit]


def capacity_of(question: Question, measured: Measurements) -> Capacity:
    """Of one replica on `question.cores` cores. An engine on those cores shares them with all the rest; one on a device
    has its own time, and only its threads' share of the cores."""
    engine, work = measured.engine, measured.work
    cpu_seconds = work.total + engine.cpu_seconds
    residence = work_seconds(question, measured) + question.delivery_interval / 2 + question.commit
    bounds: dict[Limit, float] = {
        "cores": (question.cores - work.standing) / cpu_seconds,
        "delivery": MOST_PER_DELIVERY / question.commit,
        "network": question.network / bits_in(measured),
    }
    if engine.has_device:
        bounds["engine"] = 1 / engine.seconds
    bounds["jobs in hand"] = _by_jobs_in_hand(question, measured, min(bounds.values()))
    return Capacity(bounds, cpu_seconds, residence)


def _by_jobs_in_hand(question: Question, measured: Measurements, rate: float) -> float:
    """Where all the rest would bear `rate`. A job is in hand until it is delivered, and while a transaction is
    committed no other starts, so on average half of the jobs wait for their turn behind each other."""
    jobs = question.max_in_flight
    waits = question.delivery_interval / 2 + question.commit + jobs / (2 * rate)
    return jobs / (work_seconds(question, measured) + waits)


def work_seconds(question: Question, measured: Measurements) -> float:
    """From the start of a job to its outcome: round trip, CPU of the stages, one batch of the engine."""
    return question.s3_round_trip + measured.work.total + measured.engine.batch_seconds


def bits_in(measured: Measurements) -> float:
    """Of one image: its bytes, a signed request with its headers, and the job's record."""
    return 8.0 * (measured.images.bytes + REQUEST_BYTES + measured.job_bytes)


def advice_for(limit: Limit, capacity: Capacity, measured: Measurements) -> str:
    """What raises a replica's rate."""
    work, engine = measured.work, measured.engine
    match limit:
        case "engine":
            return f"the engine ({engine.engine}, {engine.precision}): a faster device, a lower precision, fewer pixels"
        case "cores":
            shares = {"the engine": engine.cpu_seconds, "decoding": work.decode, "fetching": work.fetch}
            largest = max(shares, key=shares.__getitem__)
            share = 100 * shares[largest] / capacity.cpu_seconds
            return f"the cores, of which {largest} takes {share:.0f} %: {_ways[largest]}"
        case "jobs in hand":
            return (
                f"jobs in hand: limits.max_in_flight, or less of the {1000 * capacity.residence:.0f} ms that a job is "
                "in hand (S3 round trip, delivery.interval, commit)"
            )
        case "delivery":
            return f"transactions of {MOST_PER_DELIVERY} outcomes at the most: brokers that commit faster"
        case "network":
            return "the replica's network: smaller images, or machines with a faster one"


_ways = {
    "the engine": "more cores, a GPU, a lower precision, model.shapes: rectangular",
    "decoding": "more cores, images.decode: fast, smaller images",
    "fetching": "more cores, a plain connection to the store",
}
