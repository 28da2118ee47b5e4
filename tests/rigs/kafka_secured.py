"""How does a test get a broker that asks who one is and what one may do?"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)
from confluent_kafka.admin import ResourceType as Resource

from consumer.demo.ports import free_port
from tests.rigs.certificates import YESTERDAY, Certificates, Pair
from tests.rigs.kafka import KafkaCluster, KafkaUnavailable
from tests.rigs.kafka_jars import missing_tool
from tests.rigs.token_server import AUDIENCE, ISSUER, TokenServer

PASSWORD = "not-a-secret-of-anybody"
USERS = ("line", "publisher", "auditor", "operator")
_SECURITY = "org.apache.kafka.common.security"
_PASSWORDS: Mapping[str, str] = {
    "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
    "scram-sha-512.sasl.jaas.config": f"{_SECURITY}.scram.ScramLoginModule required;",
    "plain.sasl.jaas.config": f'{_SECURITY}.plain.PlainLoginModule required user_line="{PASSWORD}";',
}
PROTOCOLS: Mapping[str, str] = {
    "PASSWORD": "SASL_SSL",  # SCRAM-SHA-512 and PLAIN
    "CERTIFICATE": "SSL",  # of the client too
    "TOKEN": "SASL_SSL",  # OAUTHBEARER
    "EXPIRED": "SASL_SSL",  # a door of passwords, but the broker's own certificate has expired
    "ELSEWHERE": "SASL_SSL",  # the same, with a certificate of another host
}


@dataclass(frozen=True)
class SecuredKafka:
    """One broker with many doors: at `open_servers` everybody may do everything, at each of `doors` the user `line` may
    do what was granted. By SCRAM there are the other `USERS` too, with the same password."""

    open_servers: str
    doors: Mapping[str, str]
    certificates: Certificates
    client: Pair
    expired_client: Pair
    tokens: TokenServer
    description: str = field(default="a secured Apache Kafka from jars")

    @property
    def bootstrap_servers(self) -> str:
        return self.doors["PASSWORD"]

    @property
    def extra(self) -> dict[str, str]:
        """The properties that a client logs in with at `bootstrap_servers`."""
        return {
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.certificates.ca_file),
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "line",
            "sasl.password": PASSWORD,
        }

    def grant(
        self, resource: Resource, name: str, operation: AclOperation, *, prefixed: bool = False, user: str = "line"
    ) -> None:
        admin = AdminClient({"bootstrap.servers": self.open_servers})  # its requests end with it
        for created in admin.create_acls([AclBinding(*_rule(resource, name, operation, prefixed, user))]).values():
            created.result(10)

    def withdraw(
        self, resource: Resource, name: str, operation: AclOperation, *, prefixed: bool = False, user: str = "line"
    ) -> None:
        admin = AdminClient({"bootstrap.servers": self.open_servers})
        rule = AclBindingFilter(*_rule(resource, name, operation, prefixed, user))
        for deleted in admin.delete_acls([rule]).values():
            deleted.result(10)


def _rule(resource: Resource, name: str, operation: AclOperation, prefixed: bool, user: str) -> tuple[Any, ...]:
    pattern = ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL
    return resource, name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW


@contextmanager
def open_secured() -> Iterator[SecuredKafka]:
    if reason := missing_tool():
        raise KafkaUnavailable(f"no secured Kafka: {reason}")
    with tempfile.TemporaryDirectory(prefix="inspection-secured-") as scratch:
        folder = Path(scratch)
        certificates = Certificates(folder)
        with TokenServer(certificates.issue("tokens")) as tokens:
            keys = folder / "keys.json"
            keys.write_text(json.dumps(tokens.keys))
            ports = {door: free_port() for door in PROTOCOLS}
            settings = _settings(certificates, keys)
            with KafkaCluster(
                adjust=lambda given: {**given, **_listeners(given, ports), **settings},
                java_options=[
                    f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={keys.as_uri()}",
                    f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.files={keys}",
                ],
            ) as cluster:
                _add_users(cluster.bootstrap_servers)
                yield SecuredKafka(
                    cluster.bootstrap_servers,
                    {door: f"127.0.0.1:{port}" for door, port in ports.items()} | {"OPEN": cluster.bootstrap_servers},
                    certificates,
                    client=certificates.issue("line"),
                    expired_client=certificates.issue("line", host="line.example", until=YESTERDAY),
                    tokens=tokens,
                )


def _add_users(open_servers: str) -> None:
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    changes: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(user, info, PASSWORD.encode()) for user in USERS
    ]
    admin = AdminClient({"bootstrap.servers": open_servers})
    for changed in admin.alter_user_scram_credentials(changes).values():
        changed.result(10)


def _listeners(settings: Mapping[str, str], ports: Mapping[str, int]) -> Mapping[str, str]:
    doors = "".join(f",{door}://127.0.0.1:{port}" for door, port in ports.items())
    protocols = "".join(f",{door}:{protocol}" for door, protocol in PROTOCOLS.items())
    return {
        "listeners": settings["listeners"] + doors,
        "advertised.listeners": settings["advertised.listeners"] + doors,
        "listener.security.protocol.map": settings["listener.security.protocol.map"] + protocols,
    }


def _settings(certificates: Certificates, keys: Path) -> Mapping[str, str]:
    good = certificates.keystore("broker")
    expired = certificates.keystore("expired", until=YESTERDAY)
    elsewhere = certificates.keystore("elsewhere", host="elsewhere.example")
    doors = {
        "password": {**_PASSWORDS, **_tls(good)},
        "certificate": {
            **_tls(good),
            "ssl.client.auth": "required",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(certificates.ca_file),
            "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/,DEFAULT",
        },
        "token": {
            **_tls(good),
            "sasl.enabled.mechanisms": "OAUTHBEARER",
            "oauthbearer.sasl.jaas.config": f"{_SECURITY}.oauthbearer.OAuthBearerLoginModule required;",
            "oauthbearer.sasl.server.callback.handler.class": (
                f"{_SECURITY}.oauthbearer.OAuthBearerValidatorCallbackHandler"
            ),
            "oauthbearer.connections.max.reauth.ms": "60000",  # a session ends with its token, after a minute at most
            "sasl.oauthbearer.jwks.endpoint.url": keys.as_uri(),
            "sasl.oauthbearer.expected.audience": AUDIENCE,
            "sasl.oauthbearer.expected.issuer": ISSUER,
        },
        "expired": {**_PASSWORDS, **_tls(expired)},
        "elsewhere": {**_PASSWORDS, **_tls(elsewhere)},
    }
    return {
        **{f"listener.name.{door}.{key}": value for door, keys_ in doors.items() for key, value in keys_.items()},
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",  # who comes by the open door
    }


def _tls(keystore: Path) -> Mapping[str, str]:
    return {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(keystore)}
