"""Does a record with any headers come as a record?"""

from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, Message

from consumer.errors import Rejected
from consumer.intake import contents_of
from consumer.kafka.headers import headers_of
from consumer.messages import UNREADABLE_HEADERS
from tests.hostile.odd_headers import odd_producer
from tests.unit.samples import NATIVE, a_record

NAMES = (b"plain", "ü😀".encode(), b"", b"\xff\xfe", b"caf\xe9", b"\xed\xa0\x80")


@pytest.fixture(scope="module")
def messages() -> Iterator[list[Message]]:
    """Real records, from the broker that librdkafka plays."""
    with odd_producer(test_mock_num_brokers="1", log_level="0") as producer:
        for name in NAMES:
            producer.send("jobs", NATIVE, name)
        servers = {"bootstrap.servers": producer.mock_servers(), "group.id": "odd", "auto.offset.reset": "earliest"}
        consumer = Consumer(servers)
        consumer.subscribe(["jobs"])
        found: list[Message] = []
        while len(found) < len(NAMES):
            found += [message for message in consumer.consume(len(NAMES), 1) if message.error() is None]
        yield sorted(found, key=lambda message: (message.partition() or 0, message.offset() or 0))
        consumer.close()


def test_headers_whose_names_are_no_text_are_unreadable_and_end_nothing(messages: list[Message]) -> None:
    found = {headers_of(message) for message in messages}

    readable = {((name.decode(), b"v"),) for name in NAMES[:3]}
    assert found == {*readable, UNREADABLE_HEADERS}


def test_a_record_with_unreadable_headers_is_refused() -> None:
    """Its job id, or which job of several it is, may be among them."""
    with pytest.raises(Rejected, match="headers: a name among them is not UTF-8") as caught:
        contents_of(a_record(headers=UNREADABLE_HEADERS))
    assert caught.value.reason == "schema_invalid"
