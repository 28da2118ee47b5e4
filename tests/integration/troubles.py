"""Which ways are there to be refused by a secured broker, and what must the line about each of them name?"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import trustme
import yaml

from tests.rigs.acls import Acl, commands_of
from tests.rigs.forked import run_forked
from tests.rigs.jobs import settings_for
from tests.rigs.kafka_secured import PASSWORD, SecuredKafka
from tests.rigs.s3 import S3Server
from tests.rigs.token_server import CLIENT_SECRET
from tests.rigs.topics import Topics, create_topics

PAGE = (Path(__file__).parents[2] / "docs/brokers.md").read_text(encoding="utf-8")
KINDS = dict(re.findall(r"<!-- settings: (\w+) -->\n```yaml\n(.*?)```", PAGE, flags=re.DOTALL))
GRANTS = commands_of(PAGE)
DOORS = {"scram": "PASSWORD", "plain": "PASSWORD", "certificate": "CERTIFICATE", "token": "TOKEN"}
SECRETS: Mapping[str, Mapping[str, str]] = {
    "scram": {"sasl.password": PASSWORD},
    "plain": {"sasl.password": PASSWORD},
    "certificate": {},
    "token": {"sasl.oauthbearer.client.secret": CLIENT_SECRET},
}
WRONG = "wrong-horse-battery"
PATIENCE = 6  # seconds: an attempt and another one, where what is wrong may pass


@dataclass(frozen=True)
class World:
    """A broker with locks, topics on which the page's rights are granted, a store with a bucket, a folder."""

    kafka: SecuredKafka
    topics: Topics
    s3: S3Server
    bucket: str
    folder: Path
    bare: Topics
    """Names without any right."""

    def documented(self, kind: str) -> dict[str, Any]:
        """The section `kafka` as the page has it, with this world's places."""
        text = KINDS[kind]
        for example, real in {
            "broker-1.example:9093": self.kafka.doors[DOORS[kind]],
            "/etc/kafka/ca.pem": self.kafka.certificates.ca_file,
            "/etc/kafka/line.pem": self.kafka.client.certificate,
            "/etc/kafka/line.key": self.kafka.client.key,
            "https://login.example/token": self.kafka.tokens.url,
        }.items():
            text = text.replace(example, str(real))
        section: dict[str, Any] = yaml.safe_load(text)["kafka"]
        return section

    def settings(self, kafka: Mapping[str, Any], **sections: dict[str, Any]) -> dict[str, Any]:
        return settings_for(
            self.topics, self.s3, self.bucket, **{"kafka": dict(kafka), "http": {"port": 0}, **sections}
        )

    def grant(self, topics: Topics) -> None:
        """What the page says, with the names of these topics."""
        for command in GRANTS:
            Acl.of(command, topics).grant(self.kafka)

    def elsewhere(self, name: str) -> "World":
        """The same with topics of its own."""
        topics = create_topics(self.kafka.open_servers, f"{self.folder.name}.{name}", partitions=1)
        self.grant(topics)
        return replace(self, topics=topics)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def run(self, name: str, settings: dict[str, Any], environment: Mapping[str, str], *arguments: str) -> BaseProcess:
        file = self.folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(settings))
        kept = {key: text for key, text in os.environ.items() if not key.startswith(("CONSUMER_", "AWS_"))}
        environment = {**kept, **self.s3.environment, **environment}
        return run_forked(
            ("run", "--settings", str(file), *arguments), environment=environment, log=self.folder / f"{name}.log"
        )


@dataclass(frozen=True)
class Trouble:
    """One way to be refused: what the one line about it must name, and where it differs from the page's settings."""

    says: tuple[str, ...]
    kind: str = "scram"
    door: str | None = None
    extra: Mapping[str, str | None] = field(default_factory=dict)
    """None takes a property away."""
    sections: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    code: int = 2


def credentials(whose: str, says: str, *, kind: str = "scram", **extra: str) -> Trouble:
    named = {name.replace("_", "."): text for name, text in extra.items()}
    return Trouble((f"refuses the credentials of {whose}", says), kind, extra=named)


def token(says: str, *, code: int = 2, **extra: str) -> Trouble:
    named = {f"sasl.oauthbearer.{name.replace('_', '.')}": text for name, text in extra.items()}
    return Trouble(("no token from 127.0.0.1:", says), "token", extra=named, code=code)


def untrusted(says: str, *, door: str = "PASSWORD", extra: Mapping[str, str | None] | None = None) -> Trouble:
    return Trouble(("shows a certificate that we do not trust", says), door=door, extra=extra or {})


def protocol(name: str, says: str, *, kind: str = "scram", door: str | None = None) -> Trouble:
    return Trouble((says, f"security.protocol {name}"), kind, door, {"security.protocol": name})


def right(operation: str, resource: str, **sections: dict[str, Any]) -> Trouble:
    return Trouble(("a right is missing", f"grant {operation} on {resource}"), sections=sections)


def another_authority(world: World) -> str:
    path = world.folder / "another.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return str(path)


def certificate(certificate: Path | None, key: Path | None) -> Mapping[str, str | None]:
    given = {"ssl.certificate.location": certificate, "ssl.key.location": key}
    return {name: str(path) if path else None for name, path in given.items()}


def stranger(world: World) -> Mapping[str, str | None]:
    """A client's certificate of an authority that the broker does not know."""
    path = world.folder / "stranger.pem"
    trustme.CA().issue_cert("line.example").private_key_and_cert_chain_pem.write_to_path(str(path))
    return certificate(path, path)


def expired(world: World) -> Mapping[str, str | None]:
    return certificate(world.kafka.expired_client.certificate, world.kafka.expired_client.key)


TROUBLES: dict[str, Callable[[World], Trouble]] = {
    # --- who we are ---
    "wrong password": lambda _: credentials("user line", "Authentication failed", sasl_password=WRONG),
    "wrong plain password": lambda _: credentials("user line", "Invalid username", kind="plain", sasl_password=WRONG),
    "unknown user": lambda _: credentials("user nobody", "Authentication failed", sasl_username="nobody"),
    "no certificate": lambda _: Trouble(
        ("wants a certificate of the client",), "certificate", extra=certificate(None, None)
    ),
    "expired certificate": lambda world: Trouble(
        ("does not accept our certificate", str(world.kafka.expired_client.certificate), "certificate has expired"),
        "certificate",
        extra=expired(world),
    ),
    "certificate of a stranger": lambda world: Trouble(
        ("does not accept our certificate", "it says "), "certificate", extra=stranger(world)
    ),
    "wrong client secret": lambda _: token("invalid_client", client_secret=WRONG),
    "expired token": lambda _: token("unexpired token", client_id="expired"),
    "token for another service": lambda _: Trouble(
        ("refuses the credentials of client elsewhere", "invalid_token"),
        "token",
        extra={"sasl.oauthbearer.client.id": "elsewhere"},
    ),
    "token server away": lambda _: token("limits.startup_timeout", token_endpoint_url="https://127.0.0.1:9/t", code=3),
    "untrusted token server": lambda world: Trouble(
        ("no token from", "SSL certificate"), "token", extra={"https.ca.location": another_authority(world)}
    ),
    # --- who the broker is ---
    "expired broker": lambda _: untrusted("certificate has expired", door="EXPIRED"),
    "broker of another name": lambda _: untrusted("not valid for '127.0.0.1'", door="ELSEWHERE"),
    "unknown authority": lambda world: untrusted(
        "ssl.ca.location", extra={"ssl.ca.location": another_authority(world)}
    ),
    "no authority": lambda _: untrusted("ssl.ca.location", extra={"ssl.ca.location": None}),
    # --- which language ---
    "tls to plaintext": lambda _: protocol("SASL_SSL", "speaks without TLS", door="OPEN"),
    "plaintext to tls": lambda _: protocol("PLAINTEXT", "speaks TLS"),
    "sasl without tls to tls": lambda _: protocol("SASL_PLAINTEXT", "speaks TLS"),
    "no sasl": lambda _: protocol("SSL", "wants a login by SASL (SCRAM-SHA-512, PLAIN)"),
    "sasl where there is none": lambda _: protocol("SASL_PLAINTEXT", "knows no login by SASL", door="OPEN"),
    "another mechanism": lambda _: Trouble(
        ("does not offer sasl.mechanism SCRAM-SHA-256, it offers SCRAM-SHA-512, PLAIN",),
        extra={"sasl.mechanism": "SCRAM-SHA-256"},
    ),
    # --- what we may do ---
    "no jobs": lambda world: right("Read", f"topic {world.bare.jobs}", topics={"jobs": world.bare.jobs}),
    "jobs described alone": lambda world: right(
        "Read",
        f"topic {world.bare.dead_letters} to this user (there is Describe)",
        topics={"jobs": world.bare.dead_letters},
    ),
    "no results": lambda world: right("Write", f"topic {world.bare.results}", topics={"results": world.bare.results}),
    "no dead letters": lambda world: right(
        "Write", f"topic {world.bare.results}", topics={"dead_letters": world.bare.results}
    ),
    "no group": lambda world: right("Read", f"group {world.bare.group}", kafka={"group_id": world.bare.group}),
    "no group with KIP-848": lambda world: right(
        "Read", f"group {world.bare.group}", kafka={"group_id": world.bare.group, "group_protocol": "consumer"}
    ),
    "group described alone": lambda world: right(
        "Read", f"group {world.bare.group}.seen", kafka={"group_id": f"{world.bare.group}.seen"}
    ),
    "no transactional id": lambda world: right(
        "Write",
        f"transactional id inspection.{world.bare.group}-read.",
        kafka={"group_id": f"{world.bare.group}-read"},
    ),
}


def settings_of(world: World, trouble: Trouble) -> dict[str, Any]:
    kafka = world.documented(trouble.kind)
    if trouble.door is not None:
        kafka["bootstrap_servers"] = world.kafka.doors[trouble.door]
    extra = {**kafka["extra"], **SECRETS[trouble.kind], **trouble.extra}
    kafka["extra"] = {name: text for name, text in extra.items() if text is not None}
    hurry = {"limits": {"startup_timeout": PATIENCE}} if trouble.code == 3 else {}  # what is refused ends at once
    sections = {**hurry, **trouble.sections}
    return world.settings({**kafka, **sections.pop("kafka", {})}, **sections)
