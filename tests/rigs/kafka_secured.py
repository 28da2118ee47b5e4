"""How does a test get a broker that asks who one is and what one may do?"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, AdminClient, ResourcePatternType
from confluent_kafka.admin import ResourceType as Resource

from consumer.demo.ports import free_port
from tests.rigs.kafka import KafkaCluster, KafkaUnavailable
from tests.rigs.kafka_jars import missing_tool

PASSWORD = "not-a-secret-of-anybody"


@dataclass(frozen=True)
class SecuredKafka:
    """One broker with two doors: at `open_servers` everybody may do everything, at `bootstrap_servers` the user `line`
    may do what was granted."""

    open_servers: str
    bootstrap_servers: str

    @property
    def extra(self) -> dict[str, str]:
        """The properties that a client logs in with."""
        return {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": "line",
            "sasl.password": PASSWORD,
        }

    def grant(self, resource: Resource, name: str, operation: AclOperation, *, prefixed: bool = False) -> None:
        pattern = ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL
        rule = AclBinding(resource, name, pattern, "User:line", "*", operation, AclPermissionType.ALLOW)
        admin = AdminClient({"bootstrap.servers": self.open_servers})  # its requests end with it
        for created in admin.create_acls([rule]).values():
            created.result(10)


@contextmanager
def open_secured() -> Iterator[SecuredKafka]:
    if reason := missing_tool():
        raise KafkaUnavailable(f"no secured Kafka: {reason}")
    port = free_port()

    def secure(settings: Mapping[str, str]) -> Mapping[str, str]:
        door = f",SASL_PLAINTEXT://127.0.0.1:{port}"
        login = "org.apache.kafka.common.security.plain.PlainLoginModule"
        return {
            **settings,
            "listeners": settings["listeners"] + door,
            "advertised.listeners": settings["advertised.listeners"] + door,
            "listener.security.protocol.map": settings["listener.security.protocol.map"]
            + ",SASL_PLAINTEXT:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{login} required user_line="{PASSWORD}";',
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",  # who comes by the other doors
        }

    with KafkaCluster(adjust=secure) as cluster:
        yield SecuredKafka(cluster.bootstrap_servers, f"127.0.0.1:{port}")
