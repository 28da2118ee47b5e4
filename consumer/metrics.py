"""Every metric's name, labels and meaning, in one place. Labels are bounded sets."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

STAGES = ("queue", "fetch", "decode", "detect", "deliver", "total")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """One registry with all of them; a process has one, a test makes its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"inspection_{name}", meaning, labels, registry=self.registry)

        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return Gauge(f"inspection_{name}", meaning, labels, registry=self.registry)

        def histogram(name: str, meaning: str, *labels: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
            return Histogram(f"inspection_{name}", meaning, labels, registry=self.registry, buckets=buckets)

        self.jobs = counter("jobs_total", "Jobs whose outcome was committed, and events skipped.", "outcome", "reason")
        self.stage_seconds = histogram("stage_seconds", "Time that one job spent in a stage.", "stage")
        self.batch_size = histogram(
            "batch_size", "Images per started batch.", "bucket", buckets=(1, 2, 4, 8, 16, 32, 64, 128)
        )
        self.in_flight_jobs = gauge("in_flight_jobs", "Jobs in hand, waiting for delivery included.")
        self.in_flight_bytes = gauge("in_flight_bytes", "Bytes of images fetched and not decoded yet.")
        self.lag_jobs = gauge("lag_jobs", "Records not delivered yet, by offsets.", "topic", "partition")
        self.lag_seconds = gauge("lag_seconds", "Age of the oldest unfinished job.", "topic", "partition")
        self.deliveries = counter("deliveries_total", "Deliveries (transactions) by how they ended.", "result")
        self.delivery_seconds = histogram("delivery_seconds", "Time that one delivery took.")
        self.rebalances = counter("rebalances_total", "Partitions assigned, revoked and lost.", "event")
        self.careful_partitions = gauge(
            "careful_partitions", "Partitions done one job at a time, because their last owner died."
        )
        self.retries = counter("retries_total", "Attempts that will be repeated.", "stage", "reason")
        self.ready = gauge("ready", "1 while /readyz answers 200.")
        self.model_info = gauge(
            "model_info", "The weights that run, always 1.", "name", "sha256", "task", "engine", "precision", "device"
        )
