"""How does a test make a broker answer a request with an error of its choice?

librdkafka carries a mock cluster, and the library inside the wheel of confluent-kafka exports the functions that the
Python client does not show: this calls them through ctypes. The clients under test connect to it as to any broker.
"""

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from importlib.metadata import files

PRODUCER = 0  # rd_kafka_type_t


class Api(IntEnum):
    """The requests of a transactional producer, by Kafka's own numbers."""

    Produce = 0
    InitProducerId = 22
    AddPartitionsToTxn = 24
    AddOffsetsToTxn = 25
    EndTxn = 26
    TxnOffsetCommit = 28


class MockCluster:
    """One broker of librdkafka's. It knows transactions by their requests only: it keeps no outcome from a reader."""

    def __init__(self, library: ctypes.CDLL, handle: ctypes.c_void_p) -> None:
        self._library = library
        self._cluster = ctypes.c_void_p(library.rd_kafka_handle_mock_cluster(handle))
        library.rd_kafka_mock_start_request_tracking(self._cluster)

    @property
    def bootstrap_servers(self) -> str:
        servers: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return servers.decode()

    def create(self, topic: str, partitions: int) -> None:
        self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1)

    def elect(self, topic: str, partition: int) -> None:
        """Its leader is elected anew: the same broker with the next epoch."""
        self._library.rd_kafka_mock_partition_set_leader(
            self._cluster, topic.encode(), ctypes.c_int32(partition), ctypes.c_int32(1)
        )

    def fail(self, api: Api, codes: Sequence[int]) -> None:
        """The next requests of this kind are answered so, one code each."""
        errors = (ctypes.c_int * len(codes))(*codes)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(api), ctypes.c_size_t(len(codes)), errors
        )

    def delay(self, api: Api, milliseconds: int) -> None:
        """The next request of this kind is done, and answered only after this time."""
        self._library.rd_kafka_mock_broker_push_request_error_rtts(
            self._cluster, ctypes.c_int32(1), ctypes.c_int16(api), ctypes.c_size_t(1), ctypes.c_int(0), milliseconds
        )

    def count(self, api: Api) -> int:
        """How many requests of this kind came."""
        count = ctypes.c_size_t()
        requests = self._library.rd_kafka_mock_get_requests(self._cluster, ctypes.byref(count))
        try:
            keys = [self._library.rd_kafka_mock_request_api_key(requests[number]) for number in range(count.value)]
        finally:
            self._library.rd_kafka_mock_request_destroy_array(requests, count)
        return keys.count(api)


@contextmanager
def mock_cluster() -> Iterator[MockCluster]:
    """A cluster of one broker while the `with` lasts."""
    library = _library()
    configuration = ctypes.c_void_p(library.rd_kafka_conf_new())
    for name, value in {"test.mock.num.brokers": "1", "log_level": "0"}.items():
        library.rd_kafka_conf_set(configuration, name.encode(), value.encode(), None, ctypes.c_size_t(0))
    handle = ctypes.c_void_p(library.rd_kafka_new(PRODUCER, configuration, None, ctypes.c_size_t(0)))
    try:
        yield MockCluster(library, handle)
    finally:
        library.rd_kafka_destroy(handle)


def _library() -> ctypes.CDLL:
    """The one that confluent_kafka has loaded."""
    installed = files("confluent-kafka") or []
    (path,) = [path for path in installed if path.name.startswith("librdkafka") and ".so" in path.name]
    library = ctypes.CDLL(str(path.locate()))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_handle_mock_cluster"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    library.rd_kafka_mock_get_requests.restype = ctypes.POINTER(ctypes.c_void_p)
    library.rd_kafka_mock_request_api_key.argtypes = [ctypes.c_void_p]
    library.rd_kafka_mock_request_api_key.restype = ctypes.c_int16
    return library
