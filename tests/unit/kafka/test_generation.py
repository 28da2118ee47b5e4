"""Is the generation read from where librdkafka really puts it?"""

import struct

import pytest
from confluent_kafka import Consumer

from consumer.kafka.generation import generation_of


def test_a_consumer_that_is_no_member_has_no_generation() -> None:
    """The layout of the librdkafka that is installed; a release that changes it fails here, not in production."""
    consumer = Consumer({"bootstrap.servers": "127.0.0.1:1", "group.id": "inspection", "log_level": 0})
    metadata = bytes(consumer.consumer_group_metadata())
    consumer.close()

    assert metadata == b"CGMDv2:" + struct.pack("<i", -1) + b"inspection\0\0\1"
    assert generation_of(metadata) == -1


@pytest.mark.parametrize("generation", [0, 1, 258, 2**31 - 1])
def test_a_members_generation_is_little_endian(generation: int) -> None:
    assert generation_of(b"CGMDv2:" + struct.pack("<i", generation) + b"group\0member\0") == generation


@pytest.mark.parametrize("metadata", [b"", b"CGMDv1:\1\0\0\0g\0", b"CGMDv3:\1\0\0\0g\0m\0", b"CGMDv2:\1\0\0"])
def test_an_unknown_layout_is_refused(metadata: bytes) -> None:
    with pytest.raises(ValueError, match="group metadata of an unknown layout"):
        generation_of(metadata)
