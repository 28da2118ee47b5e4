"""What of the store, the weights and this machine keeps a consumer from running?"""

import contextlib
import http.client
import os
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from consumer.checkup.findings import Finding, ok, red, warning
from consumer.checkup.memory import Demand, memory_limit, resident_memory, thread_limit
from consumer.cores import available_cores
from consumer.detection.engine import Engine
from consumer.detection.loading import load
from consumer.detection.weights import find
from consumer.images.access import S3Access
from consumer.images.greeting import greet
from consumer.images.store import ImageStore
from consumer.settings import Settings

ANSWER_WITHIN = 60.0
TRIALS = 5
OTHER_THREADS = 64  # those of the libraries and engines; workers are counted
MOST_SKEW, ODD_SKEW = 300.0, 5.0  # stores refuse signatures of clocks that are 900 s off
MIB = 2**20


def check_bucket(settings: Settings, bucket: str) -> Iterator[Finding]:
    """As `consumer run` does at its start, and what the store thinks of our clock."""
    name = f"bucket {bucket}"
    if bucket == "*":
        yield warning(name, "any may be read, so none is tried", "name those that jobs lie in: images.allowed_buckets")
        return
    images = settings.images.model_copy(update={"allowed_buckets": (bucket,)})
    ImageStore(settings.s3, images).check()
    access = S3Access(settings.s3)
    greeting = greet(access, bucket)
    ahead = greeting.ahead or 0.0
    if greeting.code == "AccessDenied":
        fact = "a key that does not exist is AccessDenied: a missing image becomes image_forbidden, not image_not_found"
        yield warning(name, fact, f"grant s3:ListBucket, and try an image: consumer detect s3://{bucket}/KEY")
    else:
        yield ok(name, f"{access.address(bucket)} answers")
    if abs(ahead) > ODD_SKEW:
        yield _clock(bucket, ahead)


def check_weights(settings: Settings) -> Iterator[Finding]:
    model = settings.model
    if model.weights is None and ":" in model.engine:
        yield ok("weights", f"none are named, {model.engine} has its own")
        return
    weights = find(model)
    pinned = "as model.sha256 says" if model.sha256 else "not pinned by model.sha256"
    yield ok("weights", f"{weights.path} has the sha256 {weights.sha256}, {pinned}")


def check_engine(settings: Settings, root: Path) -> Iterator[Finding]:
    """Loads it, runs plain gray images, and adds up the memory while it is loaded."""
    with contextlib.closing(load(settings.model, settings.batching)) as engine:
        model = engine.model
        milliseconds = _milliseconds(engine)
        height, width = model.image_size
        names = ", ".join(model.class_names[:3]) + (", …" if len(model.class_names) > 3 else "")
        fact = (
            f"{model.engine} in {model.precision} on {model.device}: {milliseconds:.1f} ms for an image of "
            f"{width}x{height}; {model.name}, {model.task}, {len(model.class_names)} classes ({names})"
        )
        yield ok("engine", fact)
        yield check_memory(settings, root, slots=2 * (engine.places + 1) * engine.max_batch * height * width * 3)


def check_memory(settings: Settings, root: Path, *, slots: int) -> Finding:
    """Of this process, in which the engine is loaded, against its cgroup or the machine. `slots`: bytes of all slots of
    batches."""
    limit, resident = memory_limit(root), resident_memory()
    if limit is None or resident is None:
        return warning("memory", "this system does not say how much there is", "see to it by hand")
    cores, image = available_cores(root), settings.images.max_pixels * 3
    demand = Demand(resident, int(settings.limits.max_in_flight_bytes), cores, image, slots)
    fact = (
        f"{_mib(demand.most)} at the most, of {_mib(limit)}: {_mib(resident)} now, {_mib(demand.fetched)} fetched "
        f"(limits.max_in_flight_bytes), {cores} x {_mib(image)} decoded (images.max_pixels), {_mib(slots)} in batches"
    )
    advice = "lower limits.max_in_flight_bytes, images.max_pixels or batching.max_batch, or give the container more"
    if demand.least > limit:
        return red("memory", fact, advice)
    return warning("memory", fact, advice) if demand.most > limit else ok("memory", fact)


def check_threads(settings: Settings, root: Path) -> Iterator[Finding]:
    cores, limit = available_cores(root), thread_limit(root)
    needed = settings.limits.max_in_flight + OTHER_THREADS
    fact = f"{cores} of {os.cpu_count()} cores, up to {needed} threads"
    if limit is not None and needed > limit:
        yield red(
            "threads", f"{fact}, but pids.max is {limit}", "lower limits.max_in_flight or raise the limit of pids"
        )
    else:
        yield ok("threads", fact)


def check_http(settings: Settings) -> Iterator[Finding]:
    host, port = settings.http.host, settings.http.port
    address = f"{host}:{port}"
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family):
            yield ok("http", f"{address} is free" if port else f"a free port of {host} is taken at start")
    except OSError as error:
        if _is_consumer(host, port):
            yield warning("http", f"{address} is a running consumer's", "another one here needs another http.port")
        else:
            fact = f"cannot listen on {address}: {error.strerror}"
            yield red(
                "http", fact, "set http.port to a free one (0 finds one), http.host to an address of this machine"
            )


def _is_consumer(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().getheader("Server", "").startswith("consumer")
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _milliseconds(engine: Engine) -> float:
    """The median of some plain gray images, one after the other."""
    gray = np.full((1, *engine.model.image_size, 3), 114, np.uint8)
    spent = []
    for _ in range(TRIALS):
        begun = time.perf_counter()
        engine.start(gray).result(ANSWER_WITHIN)
        spent.append(1000 * (time.perf_counter() - begun))
    return statistics.median(spent)


def _clock(bucket: str, ahead: float) -> Finding:
    name = f"clock against bucket {bucket}"
    fact = f"ours is {abs(ahead):.0f} s {'ahead' if ahead > 0 else 'behind'}"
    advice = "set the clock of this machine (NTP)"
    if abs(ahead) > MOST_SKEW:
        return red(name, f"{fact}: stores refuse signatures of such clocks, and ages of jobs are wrong", advice)
    return warning(name, f"{fact}: images.not_found_grace and limits.max_job_age count with it", advice)


def _mib(size: int) -> str:
    return f"{size / MIB:.0f} MiB"
