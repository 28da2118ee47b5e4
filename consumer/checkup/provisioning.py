"""Are the three topics as the consumer needs them, and how do they come to be so?

Topics that exist are never changed, but for partitions that a person asks to be added.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from consumer.checkup.findings import Finding, ok, red, warning
from consumer.errors import SettingsError, Unavailable
from consumer.kafka.administration import BROKERS_DEFAULT, Administration, AlreadyThere, Topic, TopicPlan
from consumer.kafka.topics import DEAD_LETTER_MARGIN
from consumer.settings import TopicSettings

LABEL = "topic "
DAYS = 7  # a week of holidays: jobs may wait so long, results may be read so late
DEAD_LETTER_DAYS = 30  # people look at these, not programs
DEFAULT_PARTITIONS = 12  # divided evenly among 2, 3, 4, 6 and 12 replicas
SAFE_REPLICAS = 3  # one may fail while another is restarted: two must then have every record
_DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asked for. None: whatever a topic that exists has, and our default for new ones."""

    partitions: int | None = None
    replicas: int | None = None  # new: the broker's default
    retention_days: int | None = None  # of jobs and results
    dead_letter_retention_days: int | None = None
    max_message_bytes: int | None = None  # of jobs and results; new: the broker's default
    add_partitions: bool = False


NO_WISH = Wish()


def create_topics(admin: Administration, names: TopicSettings, wish: Wish) -> Iterator[Finding]:
    """Make what is missing, add partitions if asked to, and say of each topic what was done or what differs.

    Where it fails midway the error says what had been done.
    """
    _refuse_equal(names)
    found = admin.topics(_all(names))
    counts = [topic.partitions for topic in found.values()]
    partitions = wish.partitions or max(counts, default=DEFAULT_PARTITIONS)
    defaults = (admin.broker_settings() or {}) if len(found) < len(_all(names)) else {}
    done: dict[str, str] = {}
    with _telling(done):
        for name in _all(names):  # jobs first: their size limit rules that of dead letters
            if name not in found:
                settings = _settings_for(name, names, wish, jobs=found.get(names.jobs), defaults=defaults)
                plan = TopicPlan(name, partitions, wish.replicas or BROKERS_DEFAULT, settings)
                try:
                    found[name] = admin.create(plan)
                    done[name] = "created"
                except AlreadyThere:  # another one creates them too
                    found[name] = admin.seen(name)
            elif wish.add_partitions and (had := found[name].partitions) < partitions:
                found[name] = admin.add_partitions(name, partitions)
                done[name] = f"{partitions - had} partitions added"
    for finding in compare(names, found, replace(wish, partitions=partitions)):
        fact = f"{done.get(finding.name.removeprefix(LABEL), 'exists')}: {finding.fact}"
        yield replace(finding, fact=fact)


@contextlib.contextmanager
def _telling(done: Mapping[str, str]) -> Iterator[None]:
    """Errors say what had been done before."""
    try:
        yield
    except (SettingsError, Unavailable) as error:
        if not done:
            raise
        text = f"{error} (done before: {', '.join(f'{name} {what}' for name, what in done.items())})"
        raise (SettingsError(text) if isinstance(error, SettingsError) else Unavailable(error.code, text)) from error


def check_topics(admin: Administration, names: TopicSettings) -> Iterator[Finding]:
    """Compare the topics that exist with what the consumer needs."""
    _refuse_equal(names)
    found = admin.topics(_all(names))
    yield from compare(names, found)


def compare(names: TopicSettings, found: Mapping[str, Topic], wish: Wish = NO_WISH) -> Iterator[Finding]:
    """One finding for each topic: the worst that can be said of it, held against what is wished and what the jobs
    topic is like."""
    jobs = found.get(names.jobs)
    for key, name in zip(TopicSettings.model_fields, _all(names), strict=True):
        if (topic := found.get(name)) is None:
            fact = "does not exist, or this user may not see it"
            yield red(LABEL + name, fact, f"create it: consumer topics create (or mend topics.{key})")
            continue
        differences = (*_count(topic, jobs, wish), *_settings(topic, names, jobs, wish))
        yield next(iter(differences), ok(LABEL + name, _described(topic)))


def _count(topic: Topic, jobs: Topic | None, wish: Wish) -> Iterator[Finding]:
    label, count = LABEL + topic.name, topic.partitions
    wanted = wish.partitions or (jobs.partitions if jobs else count)
    if count < wanted:
        fact = f"has {count} partitions, {wanted} are wanted"
        yield red(label, fact, f"consumer topics create --partitions {wanted} --add-partitions")
    if count > wanted:
        fact = f"has {count} partitions, {wanted} are wanted, and none can be taken away"
        yield red(label, fact, f"give the others more: consumer topics create --partitions {count} --add-partitions")
    if wish.replicas is not None and topic.replicas != wish.replicas:
        fact = f"has {topic.replicas} replicas, {wish.replicas} are wanted"
        yield red(label, fact, "kafka-reassign-partitions.sh moves and copies partitions")


def _settings(topic: Topic, names: TopicSettings, jobs: Topic | None, wish: Wish) -> Iterator[Finding]:
    """What is wrong with its settings, the worst first."""
    label = LABEL + topic.name
    if topic.settings is None:
        yield warning(
            label, f"{_described(topic)}; its settings may not be read", "grant DescribeConfigs on it, or check by hand"
        )
        return
    limit, least = topic.number("max.message.bytes"), _needed(topic, names, jobs)
    if least is not None and limit is not None and limit < least:
        fact = f"max.message.bytes is {limit}, but a dead letter holds a whole job of {names.jobs}: it needs {least}"
        yield red(label, fact, _alter(topic.name, f"max.message.bytes={least}"))
    for key, value in _wished(topic.name, names, wish).items():
        if topic.settings.get(key) != value:
            fact = f"{key} is {topic.settings.get(key)}, {value} is wanted"
            yield red(label, fact, _alter(topic.name, f"{key}={value}"))
    if "compact" in topic.settings.get("cleanup.policy", "delete"):
        fact = "cleanup.policy is compact: jobs and outcomes of one key would replace each other"
        yield red(label, fact, _alter(topic.name, "cleanup.policy=delete"))
    in_sync = topic.number("min.insync.replicas") or 1
    if in_sync > topic.replicas:
        fact = f"min.insync.replicas is {in_sync} with {topic.replicas} replicas: nothing can be written"
        yield red(label, fact, _alter(topic.name, f"min.insync.replicas={topic.replicas}"))
    if topic.replicas >= SAFE_REPLICAS and in_sync == 1:
        fact = f"min.insync.replicas is 1 with {topic.replicas} replicas: one disk may hold the only copy of a record"
        yield warning(label, fact, _alter(topic.name, "min.insync.replicas=2"))


def _settings_for(
    name: str, names: TopicSettings, wish: Wish, *, jobs: Topic | None, defaults: Mapping[str, str]
) -> dict[str, str]:
    """Of a new topic; `defaults` are the broker's."""
    days = DEAD_LETTER_DAYS if name == names.dead_letters else DAYS
    settings = {"cleanup.policy": "delete", "retention.ms": str(days * _DAY_MS)}
    limit = jobs.number("max.message.bytes") if jobs else None
    if name == names.dead_letters and limit is not None:
        settings["max.message.bytes"] = str(limit + DEAD_LETTER_MARGIN)
    replicas = wish.replicas or int(defaults.get("default.replication.factor", 1))
    if replicas >= SAFE_REPLICAS and int(defaults.get("min.insync.replicas", 1)) == 1:
        settings["min.insync.replicas"] = "2"
    return settings | _wished(name, names, wish)


def _wished(name: str, names: TopicSettings, wish: Wish) -> dict[str, str]:
    """The settings that a person named for this topic."""
    is_dead_letters = name == names.dead_letters
    days = wish.dead_letter_retention_days if is_dead_letters else wish.retention_days
    wished = {} if days is None else {"retention.ms": str(days * _DAY_MS)}
    if wish.max_message_bytes is not None and not is_dead_letters:
        wished["max.message.bytes"] = str(wish.max_message_bytes)
    return wished


def _needed(topic: Topic, names: TopicSettings, jobs: Topic | None) -> int | None:
    """The least `max.message.bytes` that the topic must have, None where any will do."""
    limit = jobs.number("max.message.bytes") if jobs else None
    return limit + DEAD_LETTER_MARGIN if topic.name == names.dead_letters and limit is not None else None


def _described(topic: Topic) -> str:
    parts = [f"{topic.partitions} partitions", f"replication {topic.replicas}"]
    if (limit := topic.number("max.message.bytes")) is not None:
        parts.append(f"{limit} bytes a message")
    if (kept := topic.number("retention.ms")) is not None:
        parts.append(f"kept {kept / _DAY_MS:g} days" if kept >= 0 else "kept for ever")
    return ", ".join(parts)


def _alter(name: str, setting: str) -> str:
    return f"kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config {setting}"


def _all(names: TopicSettings) -> list[str]:
    return [names.jobs, names.results, names.dead_letters]


def _refuse_equal(names: TopicSettings) -> None:
    if len(set(_all(names))) < len(_all(names)):
        raise SettingsError(f"topics: jobs, results and dead_letters must differ, got {', '.join(_all(names))}")
