"""What of the brokers keeps a consumer from running: versions, topics, rights?"""

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from consumer.checkup.findings import Finding, ok, red, skipped, warning
from consumer.checkup.provisioning import LABEL, check_topics
from consumer.kafka.administration import Administration
from consumer.kafka.capabilities import FENCES_BY_GENERATION, NEW_GROUP_PROTOCOL, can, request_versions
from consumer.kafka.client import transactional_id
from consumer.kafka.rights import Rights, Trial, group_rights, topic_rights, try_transactional_id
from consumer.settings import Settings


class TryId(Protocol):
    def __call__(self, settings: Settings, transactional_id: str, *, timeout: float) -> Trial: ...


TIMEOUT = 4.0  # of one call: a check makes two at the most


def check_brokers(settings: Settings) -> Iterator[Finding]:
    cluster = Administration(settings, timeout=TIMEOUT).cluster()
    yield ok("brokers", f"{len(cluster.brokers)} in cluster {cluster.id}: {', '.join(sorted(cluster.brokers))}")


def check_versions(settings: Settings) -> Iterator[Finding]:
    versions = request_versions(settings, timeout=TIMEOUT)
    name = "broker version"
    if not versions:
        yield warning(name, "the broker did not say what it can do", "see to it that it is Kafka 2.5 or newer")
        return
    is_new, fences = can(versions, NEW_GROUP_PROTOCOL), can(versions, FENCES_BY_GENERATION)
    if not fences and settings.delivery.mode == "exactly_once":
        fact = "older than Kafka 2.5: its transactions do not fence a former owner of a partition"
        yield red(name, fact, "upgrade the brokers, or set delivery.mode: at_least_once")
    elif not is_new and settings.kafka.group_protocol == "consumer":
        fact = "older than Kafka 4.0: it does not know the group protocol of KIP-848"
        yield red(name, fact, "set kafka.group_protocol: classic, or upgrade the brokers")
    elif is_new:
        yield ok(name, "as Kafka 4.0 or newer: transactions, group protocols classic and consumer (KIP-848)")
    else:
        yield ok(name, f"as Kafka {'2.5' if fences else '0.11'} or newer: group protocol classic alone")


def check_the_topics(settings: Settings) -> Iterator[Finding]:
    yield from check_topics(Administration(settings, timeout=TIMEOUT), settings.topics)


def check_topic_rights(settings: Settings) -> Iterator[Finding]:
    names = settings.topics
    needs = {names.jobs: "READ", names.results: "WRITE", names.dead_letters: "WRITE"}
    rights = topic_rights(settings, list(needs), timeout=TIMEOUT)
    for name, need in needs.items():
        label = f"rights: {LABEL}{name}"
        if name in rights:
            yield _right(label, rights[name], need, f"grant {need.title()} on topic {name} to this user")
        else:
            yield skipped(label, "the topic does not exist")


def check_group_right(settings: Settings) -> Iterator[Finding]:
    group = settings.kafka.group_id
    rights = group_rights(settings, timeout=2 * TIMEOUT)
    yield _right(f"rights: group {group}", rights, "READ", f"grant Read on group {group} to this user")


def check_transactional_id(settings: Settings, try_id: TryId = try_transactional_id) -> Iterator[Finding]:
    """A fixed slot may have an owner: it is tried only on a broker that was seen to refuse before it acts."""
    if settings.delivery.mode != "exactly_once":
        yield skipped("rights: transactional id", "delivery.mode: at_least_once has none")
        return
    slot = settings.delivery.slot
    other = transactional_id(settings, f"{socket.gethostname()}-doctor")
    trial = try_id(settings, other, timeout=TIMEOUT)
    if slot == "auto":
        prefix = transactional_id(settings, "")
        yield _usable(other, trial, f"grant Write on transactional ids that begin with {prefix} (a prefixed ACL)")
    elif trial == "usable":
        fixed = transactional_id(settings, slot)
        yield _usable(fixed, try_id(settings, fixed, timeout=TIMEOUT), f"grant Write on transactional id {fixed}")
    else:
        why = f"{other} may not be used" if trial == "refused" else "this broker would fence its owner"
        fact = f"not tried, since it may have an owner: {why}"
        name = f"rights: transactional id {transactional_id(settings, slot)}"
        yield warning(name, fact, "see to it that this user has Write on it")


RESTING_ON_BROKERS: Mapping[str, Callable[[Settings], Iterable[Finding]]] = {
    "broker version": check_versions,
    "topics": check_the_topics,
    "rights: topics": check_topic_rights,
    "rights: group": check_group_right,
    "rights: transactional id": check_transactional_id,
}


def _usable(transactional_id: str, trial: Trial, advice: str) -> Finding:
    name = f"rights: transactional id {transactional_id}"
    return red(name, "may not be used", f"{advice} to this user") if trial == "refused" else ok(name, "may be used")


def _right(name: str, rights: Rights | None, need: str, advice: str) -> Finding:
    if rights is None:
        return warning(name, "the broker does not say", f"see to it: {advice}")
    if need not in rights:
        return red(name, f"{need} is missing, there is {', '.join(sorted(rights)) or 'none'}", advice)
    return ok(name, f"{need} is granted")
