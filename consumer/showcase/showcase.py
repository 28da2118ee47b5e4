"""What is the demo: from nothing to a table and a page of real outcomes?"""

import contextlib
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from pathlib import Path

from consumer.demo.line import DrawnPart, rendering
from consumer.demo.mistakes import Mistake, job, mistakes
from consumer.demo.replica import Replica
from consumer.demo.report import Report, sizes_of
from consumer.demo.show import Show
from consumer.errors import CheckFailed
from consumer.gallery import write_gallery
from consumer.images.upload import upload
from consumer.kafka.publisher import Publisher, Refused
from consumer.kafka.publisher import Report as Acknowledgement
from consumer.kafka.reader import Reader
from consumer.showcase.album import album
from consumer.showcase.audited import audit
from consumer.showcase.harvest import Harvest
from consumer.showcase.surroundings import Surroundings, Wish, clearing, scratch, surround

_READY_TIME = 90.0
_LOOK_EVERY = 0.05
_PUBLISH_TIME = 30.0


@dataclass(frozen=True)
class Plan:
    """What is to be shown; `out` gets the page and the results."""

    parts: int
    seed: int
    replicas: int
    out: Path
    wish: Wish
    keeps_running: bool = False


def run_demo(plan: Plan, show: Show) -> Report:
    """Render, upload, publish, inspect, tell. Raises CheckFailed, SettingsError or Unavailable; leaves nothing running.

    SIGTERM and SIGHUP end it as Ctrl-C does, with KeyboardInterrupt.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
        with scratch() as folder:
            return _run(plan, folder, show)
    except OSError as error:
        where = error.filename or f"{tempfile.gettempdir()} or {plan.out}"  # a full disk's error names no file
        raise CheckFailed(f"{where}: {error.strerror or error}") from error


def _run(plan: Plan, folder: Path, show: Show) -> Report:
    show.say(_announcement(plan))
    images = folder / "images"
    images.mkdir()
    with (
        rendering(images, seed=plan.seed, count=plan.parts) as rendered,
        surround(plan.wish, folder) as around,
        _replicas(plan, folder, around) as replicas,
    ):
        parts = _rendered(plan, rendered, around.prefix, replicas, show)
        bad = mistakes(around.bucket, f"{around.prefix}bad/")
        with clearing(around, plan.wish, [*parts, *(mistake.key for mistake in bad)]):
            _upload(around, parts, bad, show)
            _wait_until_ready(replicas, show)
            harvest, seconds = _inspect(around, parts, bad, replicas, show)
            report = harvest.report(parts, bad, seconds=seconds, batches=_batches(replicas))
            audit(around, folder, plan.out / "audit.html", show)
            harvest.write_results(plan.out / "results.jsonl", list(parts))
            write_gallery(plan.out / "index.html", album(report, parts, harvest.results, subtitle=_announcement(plan)))
            show.tables(report)
            show.files(plan.out)
            if plan.keeps_running:
                _keep_running(around, replicas, show)
    if wrong := report.wrong():
        raise CheckFailed("; ".join(wrong))
    return report


def _announcement(plan: Plan) -> str:
    wish = plan.wish
    broker = f"Kafka at {wish.bootstrap_servers}" if wish.bootstrap_servers else "librdkafka's mock cluster as broker"
    store = f"bucket {wish.bucket}" if wish.has_store else "SeaweedFS as S3"
    why = "" if wish.bootstrap_servers else ", since the mock knows no transactions"
    replicas = f"{plan.replicas} replica{'' if plan.replicas == 1 else 's'}"
    return f"{broker}, {store}, {replicas}, delivery {wish.delivery}{why}"


@contextlib.contextmanager
def _replicas(plan: Plan, folder: Path, around: Surroundings) -> Iterator[list[Replica]]:
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                Replica(f"replica {number}", around.settings_file, log=folder / f"replica-{number}.log")
            )
            for number in range(1, plan.replicas + 1)
        ]


def _rendered(
    plan: Plan, rendered: Sequence[Future[DrawnPart]], prefix: str, replicas: Sequence[Replica], show: Show
) -> dict[str, DrawnPart]:
    """The parts by the keys of their images."""
    parts = {}
    line = f"{prefix}line-{plan.seed}"
    with show.phase(f"rendering parts of line {plan.seed}", f"{plan.parts} parts rendered", plan.parts) as advance:
        for future in rendered:
            while not future.done():
                _check(replicas)
                wait_for([future], _LOOK_EVERY)
            part = future.result()
            parts[f"{line}/{part.name}"] = part
            advance()
    return parts


def _upload(around: Surroundings, parts: dict[str, DrawnPart], bad: Sequence[Mistake], show: Show) -> None:
    images = [(key, part.file) for key, part in parts.items()]
    spoilt = [(mistake.key, mistake.content) for mistake in bad if mistake.content is not None]
    done = f"{len(images)} images uploaded to s3://{around.bucket}, and {len(spoilt)} bad ones"
    with show.phase("uploading", done, len(images) + len(spoilt)) as advance:
        for _ in upload(around.access, around.bucket, [*images, *spoilt]):
            advance()


def _wait_until_ready(replicas: Sequence[Replica], show: Show) -> None:
    end = time.monotonic() + _READY_TIME
    with show.phase("waiting for the consumer", f"consumers are ready: {len(replicas)}", len(replicas)) as advance:
        for replica in replicas:
            while not replica.is_ready():
                if time.monotonic() > end:
                    raise CheckFailed(f"{replica.name} is not ready after {_READY_TIME:g} s")
                time.sleep(_LOOK_EVERY)
            advance()


def _inspect(
    around: Surroundings, parts: dict[str, DrawnPart], bad: Sequence[Mistake], replicas: Sequence[Replica], show: Show
) -> tuple[Harvest, float]:
    """Returns the outcomes and the seconds from the first job published to the last outcome read."""
    topics = around.settings.topics
    jobs = _mixed([(key, job(around.bucket, key)) for key in parts], bad)
    harvest = Harvest(topics.results)
    with (
        show.phase("inspecting", f"{len(jobs)} jobs published, each has its outcome", len(jobs)) as advance,
        Reader(around.settings, [topics.results, topics.dead_letters]) as reader,
        Publisher(around.settings) as publisher,
    ):
        start = time.monotonic()
        _publish(publisher, jobs)
        harvest.gather(reader, len(jobs), advance, lambda: _check(replicas))
        return harvest, time.monotonic() - start


def _mixed(good: list[tuple[str, bytes]], bad: Sequence[Mistake]) -> list[tuple[str, bytes]]:
    """Keys and values of all jobs; the bad ones lie evenly between the good ones."""
    jobs = list(good)
    for number, mistake in enumerate(bad):
        jobs.insert((number + 1) * len(good) // (len(bad) + 1) + number, (mistake.key, mistake.value))
    return jobs


def _publish(publisher: Publisher, jobs: list[tuple[str, bytes]]) -> None:
    refused: list[Refused] = []

    def note(report: Acknowledgement) -> None:
        if isinstance(report, Refused):
            refused.append(report)

    for key, value in jobs:
        publisher.send(value, key.encode(), on_done=note)
    missing = publisher.flush(_PUBLISH_TIME)
    if refused or missing:
        why = refused[0].reason if refused else "no answer"
        raise CheckFailed(f"{len(refused) + missing} of {len(jobs)} jobs were not acknowledged: {why}")


def _batches(replicas: Sequence[Replica]) -> dict[int, int]:
    bounds: dict[float, float] = {}
    for replica in replicas:
        for labels, count in replica.metric("inspection_batch_size_bucket").items():
            bound = float(dict(labels)["le"])
            bounds[bound] = bounds.get(bound, 0) + count
    return sizes_of(bounds)


def _keep_running(around: Surroundings, replicas: Sequence[Replica], show: Show) -> None:
    """Say how to use what runs, until Ctrl-C."""
    command = _own_command()
    show.say(
        "\nStill running, until Ctrl-C. In another terminal:\n\n"
        + "".join(f"  export {name}={shlex.quote(value)}\n" for name, value in around.variables.items())
        + f"\n  broker {around.settings.kafka.bootstrap_servers}, S3 {around.settings.s3.endpoint_url or 'AWS'}\n\n"
        f"  {command} status\n"
        f"  {command} results tail\n"
        f"  {command} deadletters list\n"
        f"  {command} publish s3://{around.bucket}/{around.prefix}line-\n"
    )
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            _check(replicas)
            time.sleep(_LOOK_EVERY)


def _own_command() -> str:
    """What starts this program in a shell."""
    if shutil.which("consumer"):
        return "consumer"
    return shlex.join([sys.executable, "-m", "consumer"] if sys.argv[0].endswith("__main__.py") else [sys.argv[0]])


def _check(replicas: Sequence[Replica]) -> None:
    for replica in replicas:
        replica.check()
