"""Which mistakes can a person make before the group is joined, and what must the line about each of them name?"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from consumer.demo.ports import free_port
from tests.models import DENSE_ONNX
from tests.rigs.s3 import S3Server
from tests.rigs.topics import Topics

PASSWORD = "correct-horse-battery"
NO_KEYS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
NOBODY = "127.0.0.1:9"  # nobody listens on the discard port
SOON = {"startup_timeout": 1}
MANAGED = {"group.id": "x", "isolation.level": "x", "enable.auto.commit": True, "transactional.id": "x"}
SASL = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "u"}


@dataclass(frozen=True)
class World:
    """What stands ready: a broker with topics, a store with a bucket, a folder for files."""

    topics: Topics
    s3: S3Server
    bucket: str
    folder: Path

    def file(self, name: str, content: str = "broken") -> str:
        path = self.folder / name
        path.write_text(content)
        return str(path)

    def secret(self, name: str, content: str) -> str:
        """The folder of this one secret file."""
        (self.folder / "secrets").mkdir(exist_ok=True)
        return str(Path(self.file(f"secrets/{name}", content)).parent)


@dataclass(frozen=True)
class Mistake:
    """One mistake: what the one line about it must name, and where the mistake is."""

    says: tuple[str, ...]
    sections: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    settings_file: str | None = None
    code: int = 2


def model(**keys: object) -> dict[str, dict[str, Any]]:
    return {"model": {"engine": "openvino", **keys}}


def extra(**properties: object) -> dict[str, dict[str, Any]]:
    return {"kafka": {"extra": properties}, "limits": SOON}


# The slow ones first: they wait together.
MISTAKES: dict[str, Callable[[World], Mistake]] = {
    "broker unreachable": lambda _: Mistake(
        (NOBODY, "Connection refused", "limits.startup_timeout"),
        {"kafka": {"bootstrap_servers": NOBODY}, "limits": SOON},
        code=3,
    ),
    "broker without tls": lambda world: Mistake(
        (world.topics.bootstrap_servers, "speaks without TLS"), extra(**{"security.protocol": "SSL"})
    ),
    "refused by the broker": lambda world: Mistake(
        (world.topics.bootstrap_servers, "refuses the credentials"), extra(**SASL, **{"sasl.password": PASSWORD})
    ),
    "store unreachable": lambda world: Mistake(
        (world.bucket, "limits.startup_timeout"), {"s3": {"endpoint_url": f"http://{NOBODY}"}, "limits": SOON}, code=3
    ),
    "store without tls": lambda world: Mistake(
        (world.bucket, "limits.startup_timeout"),
        {"s3": {"endpoint_url": world.s3.endpoint_url.replace("http:", "https:")}, "limits": SOON},
        code=3,
    ),
    # --- settings ---
    "several mistakes": lambda _: Mistake(
        (
            "limits.max_inflight: there is no such key",
            "limit: there is no such section",
            "CONSUMER__LIMIT__X: there is no such section",
            "kafka.group: there is no such key",
            "batching.max_batch: ",
            "images.allowed_buckets: ",
            "delivery.slot: ",
            "http.port: ",
            "use kafka.group_id",
            "use delivery.slot",
            *MANAGED,
        ),
        {
            **extra(**MANAGED),
            "limits": {"max_inflight": 3},
            "limit": {"max_in_flight": 3},
            "delivery": {"slot": "line 3"},
            "http": {"port": 70_000},
        },
        {
            "CONSUMER__LIMIT__X": "1",
            "CONSUMER__KAFKA__GROUP": "x",
            "CONSUMER__BATCHING__MAX_BATCH": "many",
            "CONSUMER__IMAGES__ALLOWED_BUCKETS": "parts",
        },
    ),
    "secret without json": lambda world: Mistake(
        ("kafka.extra",),
        environment={"CONSUMER_SECRETS_DIR": world.secret("CONSUMER__KAFKA__EXTRA", f"{{'{PASSWORD}'")},
    ),
    "no secrets folder": lambda _: Mistake(
        ("CONSUMER_SECRETS_DIR", "/nowhere"), environment={"CONSUMER_SECRETS_DIR": "/nowhere"}
    ),
    "no settings file": lambda _: Mistake(("/nowhere.yaml does not exist",), settings_file="/nowhere.yaml"),
    "impossible settings file": lambda _: Mistake(("cannot be read",), settings_file="s" * 300),
    "settings file without yaml": lambda world: Mistake(
        ("broken.yaml", "line 2"), settings_file=world.file("broken.yaml", f"kafka:\n  extra: {{x: {PASSWORD}]\n")
    ),
    "no settings": lambda world: Mistake(
        ("images.allowed_buckets: required",), settings_file=world.file("empty.yaml", "")
    ),
    # --- weights and engines ---
    "no weights": lambda _: Mistake(("model.weights: required",), model()),
    "missing weights": lambda _: Mistake(
        ("model.weights: /nowhere.onnx does not exist",), model(weights="/nowhere.onnx")
    ),
    "impossible weights": lambda _: Mistake(("model.weights: ", "cannot be read"), model(weights="w" * 300)),
    "folder of weights": lambda world: Mistake(("model.weights: ", "is not a file"), model(weights=str(world.folder))),
    "other weights": lambda world: Mistake(("model.weights: ", "a.tflite"), model(weights=world.file("a.tflite"))),
    "other digest": lambda world: Mistake(
        ("model.sha256: ", "0" * 64, hashlib.sha256(b"broken").hexdigest()),
        model(weights=world.file("a.onnx"), sha256="0" * 64),
    ),
    "weights without a model": lambda world: Mistake(
        ("model.weights: ", "a.onnx is no readable ONNX file"), model(engine="auto", weights=world.file("a.onnx"))
    ),
    "onnx on cuda": lambda world: Mistake(
        ("model.device: cuda", "a.onnx"), model(device="cuda", weights=world.file("a.onnx"))
    ),
    "precision": lambda _: Mistake(
        ("model.precision: int8, but", "not quantised"), model(engine="auto", precision="int8", weights=str(DENSE_ONNX))
    ),
    "provider": lambda _: Mistake(
        ("model.provider: cuda is not in this onnxruntime",),
        model(engine="onnxruntime", provider="cuda", weights=str(DENSE_ONNX)),
    ),
    "provider of another engine": lambda _: Mistake(
        ("model.provider: cuda", "model.engine"), model(engine="openvino", provider="cuda", weights=str(DENSE_ONNX))
    ),
    "missing engine": lambda _: Mistake(("model.engine: nobody.has:it", "'nobody'"), model(engine="nobody.has:it")),
    # --- broker ---
    "no jobs topic": lambda _: Mistake(("topics.jobs: topic nowhere does not exist",), {"topics": {"jobs": "nowhere"}}),
    "no results topic": lambda _: Mistake(
        ("topics.results: topic nowhere does not exist",), {"topics": {"results": "nowhere"}}
    ),
    "no dead letters topic": lambda _: Mistake(
        ("topics.dead_letters: topic nowhere does not exist",), {"topics": {"dead_letters": "nowhere"}}
    ),
    "impossible topic": lambda _: Mistake(("topics.jobs: topic line 3! ",), {"topics": {"jobs": "line 3!"}}),
    "one topic for two": lambda world: Mistake(("topics: ", "must differ"), {"topics": {"results": world.topics.jobs}}),
    "swapped topics": lambda world: Mistake(  # so that the dead letters' topic allows no more than the jobs' does
        ("topics.dead_letters: max.message.bytes", "1048588", "1114124"),
        {"topics": {"results": world.topics.dead_letters, "dead_letters": world.topics.results}},
    ),
    "unknown property": lambda _: Mistake(("kafka: ", "sasl.pasword"), extra(**{"sasl.pasword": PASSWORD})),
    "unknown consumer property": lambda _: Mistake(("kafka: ", "fetch.max.bites"), extra(**{"fetch.max.bites": 1})),
    "wrong property": lambda _: Mistake(("kafka: ", "retry.backoff.ms"), extra(**{"retry.backoff.ms": "soon"})),
    "transaction time-out": lambda _: Mistake(
        ("kafka.extra.transaction.timeout.ms: ",), extra(**{"transaction.timeout.ms": 10**9})
    ),
    "session time-out": lambda _: Mistake(
        ("kafka.extra.session.timeout.ms: ",), extra(**{"session.timeout.ms": 1000, "heartbeat.interval.ms": 300})
    ),
    # --- store ---
    "missing bucket": lambda world: Mistake(
        ("no-such-bucket", "NoSuchBucket"), {"images": {"allowed_buckets": [world.bucket, "no-such-bucket"]}}
    ),
    "impossible bucket": lambda _: Mistake(
        ("images.allowed_buckets: ", "Parts!"), {"images": {"allowed_buckets": ["Parts!"]}}
    ),
    "wrong secret key": lambda world: Mistake(
        (world.bucket, "SignatureDoesNotMatch"), environment={"AWS_SECRET_ACCESS_KEY": PASSWORD}
    ),
    "unknown access key": lambda world: Mistake(
        (world.bucket, "InvalidAccessKeyId"), environment={"AWS_ACCESS_KEY_ID": "stranger"}
    ),
    "no credentials": lambda _: Mistake(("s3: no credentials found",), environment=NO_KEYS),
    "half of the credentials": lambda _: Mistake(
        ("s3: ", "AWS_SECRET_ACCESS_KEY"), environment={"AWS_SECRET_ACCESS_KEY": ""}
    ),
    "unknown profile": lambda _: Mistake(("s3: ", "line-3"), {"s3": {"profile": "line-3"}}, NO_KEYS),
    "address without scheme": lambda _: Mistake(("s3: ", "localhost:8333"), {"s3": {"endpoint_url": "localhost:8333"}}),
    "missing certificates": lambda _: Mistake(("s3: ", "/nowhere.pem"), environment={"AWS_CA_BUNDLE": "/nowhere.pem"}),
    # --- http ---
    "port taken": lambda world: Mistake(
        ("http.port: cannot listen on", "in use"), {"http": {"port": urlsplit(world.s3.endpoint_url).port}}
    ),
    "address of somebody else": lambda _: Mistake(
        ("http.host", "192.0.2.1"), {"http": {"host": "192.0.2.1", "port": free_port()}}
    ),
}
