"""Which rights do the `kafka-acls.sh` commands of a page grant, on the topics and group of a test?"""

import re
import shlex
from dataclasses import dataclass

from confluent_kafka.admin import AclOperation, ResourceType

from tests.rigs.kafka_secured import SecuredKafka
from tests.rigs.topics import Topics

_RESOURCES = {
    "--topic": ResourceType.TOPIC,
    "--group": ResourceType.GROUP,
    "--transactional-id": ResourceType.TRANSACTIONAL_ID,
}


def commands_of(page: str) -> list[str]:
    """Each line of the page that begins with `kafka-acls.sh`."""
    return re.findall(r"^kafka-acls\.sh .*", page, flags=re.MULTILINE)


@dataclass(frozen=True)
class Acl:
    """One right of one user."""

    user: str
    resource: ResourceType
    name: str
    operation: AclOperation
    is_prefixed: bool

    @classmethod
    def of(cls, command: str, topics: Topics) -> "Acl":
        """What a command (its options are enough) says, with the names of these topics in place of the defaults."""
        words = shlex.split(command)
        option, name = next((word, words[at + 1]) for at, word in enumerate(words) if word in _RESOURCES)
        named = {
            "inspection.jobs": topics.jobs,
            "inspection.results": topics.results,
            "inspection.dead-letters": topics.dead_letters,
            "inspection": topics.group,
            "inspection-audit": f"{topics.group}-audit",
            "inspection.inspection.": f"inspection.{topics.group}.",
        }
        return cls(
            words[words.index("--allow-principal") + 1].removeprefix("User:"),
            _RESOURCES[option],
            named[name],
            AclOperation[words[words.index("--operation") + 1].upper()],
            "prefixed" in words,
        )

    def grant(self, kafka: SecuredKafka) -> None:
        kafka.grant(self.resource, self.name, self.operation, prefixed=self.is_prefixed, user=self.user)

    def withdraw(self, kafka: SecuredKafka) -> None:
        kafka.withdraw(self.resource, self.name, self.operation, prefixed=self.is_prefixed, user=self.user)
