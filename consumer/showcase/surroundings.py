"""Which broker and which store does the demo use, its own or yours, and what do the consumers' settings say?"""

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from consumer import demo
from consumer.demo.weed import Weed
from consumer.errors import SettingsError
from consumer.images.access import S3Access
from consumer.images.bucket import create_bucket, delete_objects
from consumer.images.listing import listed
from consumer.images.upload import upload
from consumer.kafka.embedded import PARTITIONS, embedded_broker
from consumer.kafka.temporary import temporary_topics
from consumer.settings import Settings, load

WEIGHTS = Path(demo.__path__[0]) / "weights" / "parts-yolo26n.onnx"
BUCKET = "parts"
_START_TIME = 30.0
_LEAST_SPACE = 300 * 2**20  # what an S3 server and 200 parts take, with room to spare
_BROKER_EXTRA = "CONSUMER__KAFKA__EXTRA"


@dataclass(frozen=True)
class Wish:
    """What the user wants of broker and store: None means one of the demo's own."""

    bootstrap_servers: str | None = None
    s3_endpoint: str | None = None
    bucket: str | None = None

    @property
    def has_store(self) -> bool:
        return self.bucket is not None

    @property
    def delivery(self) -> str:
        return "exactly_once" if self.bootstrap_servers else "at_least_once"


@dataclass(frozen=True)
class Surroundings:
    """A broker with three topics, a bucket, and a settings file that names them. Images go below `prefix`."""

    settings: Settings
    settings_file: Path
    access: S3Access
    bucket: str
    prefix: str
    variables: Mapping[str, str]
    """What a shell must export to use them, credentials included."""


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder for the time of the `with`. Raises SettingsError where its disk is almost full."""
    place = Path(tempfile.gettempdir())
    free = shutil.disk_usage(place).free
    if free < _LEAST_SPACE:
        raise SettingsError(
            f"{place} has {free // 2**20} MB of free space, the demo needs {_LEAST_SPACE // 2**20}: name another place "
            "with TMPDIR"
        )
    with tempfile.TemporaryDirectory(prefix="inspection-demo-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextlib.contextmanager
def surround(wish: Wish, folder: Path) -> Iterator[Surroundings]:
    """Start what the wish does not name. Raises SettingsError or Unavailable.

    While the `with` lasts the environment of this process and its children has the store's credentials, and nothing of
    the user's own settings but `CONSUMER__KAFKA__EXTRA` for a broker of theirs.
    """
    run = f"inspection-demo-{secrets.token_hex(4)}"
    with contextlib.ExitStack() as stack:
        # The store is the slowest to start: it goes first and is waited for last.
        weed = None if wish.has_store else stack.enter_context(_running(folder))
        stack.enter_context(_environment(wish, weed.environment if weed else {}))
        topics = _topics(run if wish.bootstrap_servers else "inspection")
        servers = wish.bootstrap_servers or stack.enter_context(embedded_broker(list(topics.values())))
        file = folder / "settings.yaml"
        endpoint = weed.endpoint_url if weed else wish.s3_endpoint
        bucket, prefix = wish.bucket or BUCKET, f"{run}/" if wish.has_store else ""
        sections = _sections(wish, servers, topics, endpoint, group=run)
        sections["audit"] = {"bucket": bucket, "prefix": f"{prefix}audit/v1"}
        file.write_text(yaml.safe_dump(sections, sort_keys=False), encoding="utf-8")
        settings = load(file)
        access = S3Access(settings.s3)
        if wish.bootstrap_servers:
            stack.enter_context(temporary_topics(settings, partitions=PARTITIONS))
        if weed is not None:
            weed.wait(within=_START_TIME)
            create_bucket(access, bucket)
        _try_writing(access, bucket, f"{prefix}ready.txt")
        variables = {"CONSUMER_SETTINGS": str(file), **(weed.environment if weed else {})}
        yield Surroundings(settings, file, access, bucket, prefix, variables)


@contextlib.contextmanager
def clearing(surroundings: Surroundings, wish: Wish, keys: list[str]) -> Iterator[None]:
    """Leave nothing in a bucket that is not ours, nor what the auditor wrote there."""
    try:
        yield
    finally:
        if wish.has_store:
            written = listed(surroundings.access, surroundings.bucket, f"{surroundings.settings.audit.prefix}/")
            delete_objects(surroundings.access, surroundings.bucket, [*keys, *(one.key for one in written)])


@contextlib.contextmanager
def _running(folder: Path) -> Iterator[Weed]:
    weed = Weed(folder, access_key=secrets.token_hex(10), secret_key=secrets.token_hex(20))
    try:
        weed.start()
        yield weed
    finally:
        weed.stop()


@contextlib.contextmanager
def _environment(wish: Wish, store: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    dropped = ("CONSUMER_",) if wish.has_store else ("CONSUMER_", "AWS_")
    extra = {_BROKER_EXTRA: before[_BROKER_EXTRA]} if wish.bootstrap_servers and _BROKER_EXTRA in before else {}
    # A company's proxy knows nothing of this machine's own servers.
    direct = {name: ",".join(filter(None, (before.get(name), "127.0.0.1"))) for name in ("NO_PROXY", "no_proxy")}
    try:
        for name in [name for name in before if name.startswith(dropped)]:
            del os.environ[name]
        os.environ.update({**extra, **store, **direct})
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _try_writing(access: S3Access, bucket: str, key: str) -> None:
    """Find out now, not after the rendering. A gateway that has just started does not know its disk for a moment."""
    for _ in upload(access, bucket, [(key, b"ready")]):
        delete_objects(access, bucket, [key])


def _topics(prefix: str) -> dict[str, str]:
    return {"jobs": f"{prefix}.jobs", "results": f"{prefix}.results", "dead_letters": f"{prefix}.dead-letters"}


def _sections(
    wish: Wish, servers: str, topics: Mapping[str, str], endpoint: str | None, *, group: str
) -> dict[str, Any]:
    return {
        "kafka": {"bootstrap_servers": servers, "group_id": group},
        "topics": dict(topics),
        "s3": {"endpoint_url": endpoint} if endpoint else {},
        "images": {"allowed_buckets": [wish.bucket or BUCKET], "not_found_grace": 0},  # all there are were uploaded
        "model": {"weights": str(WEIGHTS)},
        "delivery": {"mode": wish.delivery},
        "http": {"port": 0},
        "logging": {"format": "json"},
    }
