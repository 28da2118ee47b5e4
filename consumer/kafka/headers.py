"""Which headers does a record of Kafka's have, whatever bytes their names are?"""

from operator import methodcaller
from typing import Any

from confluent_kafka import Message as KafkaMessage

from consumer.messages import UNREADABLE_HEADERS, Headers

# For a name that is not UTF-8 confluent-kafka 2.16 sets the error and gives, all the same, a list with null pointers in
# it: touching that is a segmentation fault. A plain call from Python does not look; this one does and drops the list.
_checked_headers = methodcaller("headers")


def headers_of(message: KafkaMessage) -> Headers:
    """The headers, or `UNREADABLE_HEADERS` where a name is not UTF-8. Call it once: later calls get the broken list."""
    try:
        headers: Any = _checked_headers(message) or ()
    except (SystemError, UnicodeDecodeError) as error:
        if not isinstance(error.__cause__ or error, UnicodeDecodeError):
            raise
        return UNREADABLE_HEADERS
    return tuple((name, value.encode() if isinstance(value, str) else value) for name, value in headers)
