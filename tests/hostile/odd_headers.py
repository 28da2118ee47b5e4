"""How does a record get headers whose names are not UTF-8? Go and C producers write them, Python's refuses to."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import confluent_kafka

_TOPIC, _VALUE, _HEADER, _END = 1, 4, 9, 0  # rd_kafka_vtype_t
_PRODUCER = 0
_SECONDS = 10
_pointer = ctypes.c_void_p


class _Memory(ctypes.Structure):
    _fields_ = (("pointer", ctypes.c_char_p), ("size", ctypes.c_size_t))


class _Header(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("value", ctypes.c_char_p), ("size", ctypes.c_ssize_t))


class _Content(ctypes.Union):
    _fields_ = (("text", ctypes.c_char_p), ("memory", _Memory), ("header", _Header), ("room", ctypes.c_char * 64))


class _Argument(ctypes.Structure):
    """rd_kafka_vu_t"""

    _fields_ = (("kind", ctypes.c_int), ("content", _Content))


class OddProducer:
    """librdkafka's producer without Python's: `send` takes header names as bytes."""

    def __init__(self, **properties: str) -> None:
        self._library = _library()
        self._error = ctypes.create_string_buffer(512)
        settings = self._library.rd_kafka_conf_new()
        for name, text in properties.items():
            named = name.replace("_", ".").encode()
            self._library.rd_kafka_conf_set(_pointer(settings), named, text.encode(), self._error, len(self._error))
        self._handle = _pointer(
            self._library.rd_kafka_new(_PRODUCER, _pointer(settings), self._error, len(self._error))
        )
        assert self._handle.value, self._error.value

    def send(self, topic: str, value: bytes, name: bytes) -> None:
        arguments = (_Argument * 3)()
        arguments[0].kind, arguments[0].content.text = _TOPIC, topic.encode()
        arguments[1].kind, arguments[1].content.memory = _VALUE, _Memory(value, len(value))
        arguments[2].kind, arguments[2].content.header = _HEADER, _Header(name, b"v", 1)
        assert not self._library.rd_kafka_produceva(self._handle, arguments, ctypes.c_size_t(3))
        assert self._library.rd_kafka_flush(self._handle, _SECONDS * 1000) == 0

    def mock_servers(self) -> str:
        """The address of the broker that librdkafka plays, with `test_mock_num_brokers`."""
        cluster = _pointer(self._library.rd_kafka_handle_mock_cluster(self._handle))
        servers: bytes = self._library.rd_kafka_mock_cluster_bootstraps(cluster)
        return servers.decode()

    def close(self) -> None:
        self._library.rd_kafka_destroy(self._handle)


@contextmanager
def odd_producer(**properties: str) -> Iterator[OddProducer]:
    producer = OddProducer(**properties)
    try:
        yield producer
    finally:
        producer.close()


def _library() -> ctypes.CDLL:
    """The one that the wheel brings."""
    folder = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
    library = ctypes.CDLL(str(next(folder.glob("librdkafka-*"))))
    names = ("conf_new", "new", "handle_mock_cluster", "produceva")
    for name in names:
        getattr(library, f"rd_kafka_{name}").restype = _pointer
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return library
