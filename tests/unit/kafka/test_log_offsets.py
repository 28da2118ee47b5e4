"""Do questions for the offsets of a partition follow its leader?"""

from consumer.errors import Unavailable
from consumer.kafka.topics import LogOffsets
from consumer.settings import ImageSettings, KafkaSettings, Settings, TopicSettings
from tests.rigs.deadline import wait_until
from tests.rigs.mock_errors import mock_cluster


def test_a_leader_that_was_elected_anew_is_asked_with_its_new_epoch() -> None:
    with mock_cluster() as cluster:
        cluster.create("jobs", partitions=2)
        offsets = LogOffsets(
            Settings(
                kafka=KafkaSettings(bootstrap_servers=cluster.bootstrap_servers),
                topics=TopicSettings(jobs="jobs"),
                images=ImageSettings(allowed_buckets=("parts",)),
            )
        )
        said: list[str] = []

        def are_told() -> bool:
            try:
                return offsets([0, 1], "earliest") == {0: 0, 1: 0}
            except Unavailable as refusal:
                said.append(str(refusal))
                return False

        wait_until(are_told, within=15, what=lambda: f"offsets: {said[-1:]}")
        said.clear()
        cluster.elect("jobs", 1)
        wait_until(are_told, within=15, what=lambda: f"offsets: {said[-1:]}")
        assert said
        assert all("FENCED_LEADER_EPOCH" in refusal for refusal in said)
