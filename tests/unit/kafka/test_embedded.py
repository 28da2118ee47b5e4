"""Can the clients of this package use the broker that is none?"""

from pathlib import Path

import pytest
import yaml

from consumer.kafka.embedded import PARTITIONS, embedded_broker
from consumer.kafka.publisher import Acknowledged, Publisher, Report
from consumer.kafka.reader import Reader
from consumer.kafka.topics import DEFAULT_MAX_MESSAGE_BYTES, read_topics
from consumer.settings import Settings, load

TOPICS = ["inspection.jobs", "inspection.results", "inspection.dead-letters"]


def settings_for(servers: str, folder: Path) -> Settings:
    file = folder / "settings.yaml"
    file.write_text(yaml.safe_dump({"kafka": {"bootstrap_servers": servers}}))
    return load(file, inspects=False)


def test_its_topics_are_there_and_its_silence_about_size_limits_is_no_outage(tmp_path: Path) -> None:
    with embedded_broker(TOPICS) as servers:
        topics = read_topics(settings_for(servers, tmp_path), timeout=5)

    assert (topics.job_partitions, topics.result_partitions, topics.dead_letter_partitions) == (PARTITIONS,) * 3
    assert topics.max_result_bytes == DEFAULT_MAX_MESSAGE_BYTES


@pytest.mark.parametrize("count", [1, 50])
def test_what_is_published_can_be_read(tmp_path: Path, count: int) -> None:
    reports: list[Report] = []
    with embedded_broker(TOPICS) as servers:
        settings = settings_for(servers, tmp_path)
        with Publisher(settings) as publisher:
            for number in range(count):
                publisher.send(b"%d" % number, on_done=reports.append)
            assert publisher.flush(10) == 0
        with Reader(settings, [settings.topics.jobs]) as reader:
            read = list(reader.read_to_end())

    assert all(isinstance(report, Acknowledged) for report in reports)
    assert sorted(int(record.value or b"") for record in read) == list(range(count))
