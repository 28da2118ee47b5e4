"""Is what differs about a topic named, the worst first, with what a person must do?"""

from dataclasses import replace

import pytest

from consumer.checkup.findings import Finding
from consumer.checkup.provisioning import NO_WISH, Wish, _settings_for, check_topics, compare
from consumer.errors import SettingsError
from consumer.kafka.administration import Topic
from consumer.settings import TopicSettings

NAMES = TopicSettings()
PLAIN = {"max.message.bytes": "1048588", "cleanup.policy": "delete", "min.insync.replicas": "1", "retention.ms": "-1"}
JOBS = Topic(NAMES.jobs, 6, 1, PLAIN)
GOOD = {
    NAMES.jobs: JOBS,
    NAMES.results: replace(JOBS, name=NAMES.results),
    NAMES.dead_letters: Topic(NAMES.dead_letters, 6, 1, PLAIN | {"max.message.bytes": "1114124"}),
}


def found(changed: Topic | None = None, wish: Wish = NO_WISH) -> list[Finding]:
    return list(compare(NAMES, GOOD | ({changed.name: changed} if changed else {}), wish))


def test_topics_that_fit_are_described() -> None:
    assert [finding.line for finding in found()] == [
        "✓ topic inspection.jobs — 6 partitions, replication 1, 1048588 bytes a message, kept for ever",
        "✓ topic inspection.results — 6 partitions, replication 1, 1048588 bytes a message, kept for ever",
        "✓ topic inspection.dead-letters — 6 partitions, replication 1, 1114124 bytes a message, kept for ever",
    ]


def with_settings(topic: str, **settings: str) -> Topic:
    changes = {key.replace("_", "."): value for key, value in settings.items()}
    return replace(GOOD[topic], settings=dict(GOOD[topic].settings or {}) | changes)


@pytest.mark.parametrize(
    ("changed", "state", "fact", "advice"),
    [
        (
            replace(GOOD[NAMES.results], partitions=3),
            "red",
            "has 3 partitions, 6 are wanted",
            "consumer topics create --partitions 6 --add-partitions",
        ),
        (
            replace(GOOD[NAMES.results], partitions=8),
            "red",
            "none can be taken away",
            "give the others more: consumer topics create --partitions 8 --add-partitions",
        ),
        (
            with_settings(NAMES.dead_letters, max_message_bytes="1114123"),
            "red",
            "max.message.bytes is 1114123, but a dead letter holds a whole job of inspection.jobs: it needs 1114124",
            "--entity-name inspection.dead-letters --add-config max.message.bytes=1114124",
        ),
        (
            with_settings(NAMES.jobs, cleanup_policy="compact,delete"),
            "red",
            "cleanup.policy is compact",
            "--entity-name inspection.jobs --add-config cleanup.policy=delete",
        ),
        (
            with_settings(NAMES.results, min_insync_replicas="2"),
            "red",
            "min.insync.replicas is 2 with 1 replicas: nothing can be written",
            "--add-config min.insync.replicas=1",
        ),
        (
            replace(GOOD[NAMES.results], replicas=3),
            "warning",
            "min.insync.replicas is 1 with 3 replicas",
            "--add-config min.insync.replicas=2",
        ),
        (
            replace(GOOD[NAMES.results], settings=None),
            "warning",
            "its settings may not be read",
            "grant DescribeConfigs on it",
        ),
    ],
)
def test_what_differs_is_named_with_what_to_do(changed: Topic, state: str, fact: str, advice: str) -> None:
    (finding,) = [finding for finding in found(changed) if finding.state != "ok"]

    assert (finding.name, finding.state) == (f"topic {changed.name}", state)
    assert fact in finding.fact
    assert advice in finding.advice


def test_the_worst_is_said() -> None:
    worst = replace(GOOD[NAMES.results], partitions=3, settings=None)
    assert [finding.state for finding in found(worst)] == ["ok", "red", "ok"]


def test_a_missing_topic_is_named_with_its_key() -> None:
    findings = list(compare(NAMES, {NAMES.jobs: JOBS}))
    assert [finding.state for finding in findings] == ["ok", "red", "red"]
    assert findings[2].line == (
        "✗ topic inspection.dead-letters — does not exist, or this user may not see it → "
        "create it: consumer topics create (or mend topics.dead_letters)"
    )


@pytest.mark.parametrize(
    ("wish", "differ"),
    [
        (Wish(), 0),
        (Wish(partitions=6), 0),
        (Wish(partitions=12), 3),
        (Wish(partitions=2), 3),
        (Wish(replicas=3), 3),
        (Wish(retention_days=7), 2),
        (Wish(dead_letter_retention_days=7), 1),
        (Wish(max_message_bytes=1_048_588), 0),
        (Wish(max_message_bytes=2_000_000), 2),
    ],
)
def test_topics_that_exist_are_held_against_what_was_asked_for_and_nothing_else(wish: Wish, differ: int) -> None:
    assert [finding.state for finding in found(wish=wish)].count("red") == differ


def test_a_new_topic_of_dead_letters_holds_a_whole_job_and_is_kept_for_a_month() -> None:
    settings = _settings_for(NAMES.dead_letters, NAMES, Wish(max_message_bytes=5), jobs=JOBS, defaults={})
    assert settings == {"cleanup.policy": "delete", "retention.ms": "2592000000", "max.message.bytes": "1114124"}


def test_a_new_topic_takes_the_brokers_limit_unless_one_is_named() -> None:
    settings = _settings_for(NAMES.results, NAMES, Wish(retention_days=1), jobs=JOBS, defaults={})
    assert settings == {"cleanup.policy": "delete", "retention.ms": "86400000"}
    assert (
        _settings_for(NAMES.jobs, NAMES, Wish(max_message_bytes=5), jobs=None, defaults={})["max.message.bytes"] == "5"
    )


@pytest.mark.parametrize(
    ("replicas", "default", "in_sync", "wanted"),
    [(3, "1", "1", "2"), (None, "3", "1", "2"), (None, "3", "2", None), (None, "2", "1", None), (1, "3", "1", None)],
)
def test_three_copies_want_two_in_sync(replicas: int | None, default: str, in_sync: str, wanted: str | None) -> None:
    defaults = {"default.replication.factor": default, "min.insync.replicas": in_sync}
    settings = _settings_for(NAMES.jobs, NAMES, Wish(replicas=replicas), jobs=None, defaults=defaults)
    assert settings.get("min.insync.replicas") == wanted


def test_one_topic_for_two_is_refused() -> None:
    with pytest.raises(SettingsError, match="must differ"):
        list(check_topics(None, TopicSettings(results=NAMES.jobs)))  # type: ignore[arg-type]  # nobody is asked
