"""Would a consumer with these settings run here? One finding for each thing that it stands on."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswer
from functools import partial
from pathlib import Path

from consumer.checkup import kafka as checkup_kafka
from consumer.checkup import machine as checkup_machine
from consumer.checkup.findings import Finding, is_red, red, skipped
from consumer.errors import ConsumerError
from consumer.settings import Settings

LONGEST = 10.0
LONGEST_LOADING = 300.0  # .pt weights are converted at their first use

KAFKA_ADVICE = "start the brokers, or mend kafka.bootstrap_servers and kafka.extra (security.protocol, sasl.*, ssl.*)"
STORE_ADVICE = "mend s3.endpoint_url, s3.region, images.allowed_buckets or the credentials, or start the store"
MODEL_ADVICE = "mend the section model of the settings, or install the engine"


def check_up(settings: Settings, *, root: Path = Path("/")) -> Iterator[Finding]:
    """Findings as they are had; a red one stops only what rests on it. Nothing is written, joined or fenced.

    `root` is where the kernel tells limits: another one in tests.
    """
    yield from _check_kafka(settings)
    for bucket in settings.images.allowed_buckets:
        yield from _bounded(f"bucket {bucket}", STORE_ADVICE, partial(checkup_machine.check_bucket, settings, bucket))
    yield from _check_model(settings, root)
    yield from _bounded("threads", "", partial(checkup_machine.check_threads, settings, root))
    yield from _bounded("http", "", partial(checkup_machine.check_http, settings))


def _check_kafka(settings: Settings) -> Iterator[Finding]:
    brokers = _bounded("brokers", KAFKA_ADVICE, partial(checkup_kafka.check_brokers, settings))
    yield from brokers
    for name, check in checkup_kafka.RESTING_ON_BROKERS.items():
        if is_red(brokers):
            yield skipped(name, "the brokers do not answer")
        else:
            yield from _bounded(name, "see the broker's log", partial(check, settings))


def _check_model(settings: Settings, root: Path) -> Iterator[Finding]:
    weights = _bounded("weights", MODEL_ADVICE, partial(checkup_machine.check_weights, settings), LONGEST_LOADING)
    yield from weights
    if is_red(weights):
        yield skipped("engine", "there are no weights to load")
        yield skipped("memory", "the engine is not loaded")
        return
    engine = _bounded("engine", MODEL_ADVICE, partial(checkup_machine.check_engine, settings, root), LONGEST_LOADING)
    yield from engine
    if is_red(engine) and len(engine) == 1:
        yield skipped("memory", "the engine is not loaded")


def _bounded(name: str, advice: str, check: Callable[[], Iterable[Finding]], seconds: float = LONGEST) -> list[Finding]:
    """What a check found, or why not. It runs in a thread, which is left behind when it takes longer: name look-ups and
    libraries know no time-out."""
    future: Future[list[Finding]] = Future()

    def run() -> None:
        try:
            future.set_result(list(check()))
        except BaseException as error:  # noqa: BLE001  # handed to the caller
            future.set_exception(error)

    threading.Thread(target=run, name="check", daemon=True).start()
    try:
        return future.result(seconds)
    except NoAnswer:
        return [red(name, f"no answer within {seconds:g} s", advice)]
    except ConsumerError as error:
        return [red(name, str(error), advice)]
    except Exception as error:  # noqa: BLE001  # the other checks are still worth having
        return [red(name, f"{type(error).__name__}: {error}", "this is a bug: please report it")]
