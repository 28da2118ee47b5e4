"""The auditor's numbers: names as in metrics.py where they mean the same. Labels are bounded sets."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector


class AuditMetrics:
    """One registry with all of them."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.rows = Counter("inspection_audit_rows_total", "Rows written to S3.", ("topic",), registry=registry)
        self.files = Counter(
            "inspection_audit_files_total",
            "Files by how they came: created, or adopted from another auditor.",
            ("topic", "result"),
            registry=registry,
        )
        self.bytes = Counter(
            "inspection_audit_bytes_total", "Bytes of the files created.", ("topic",), registry=registry
        )
        self.write_seconds = Histogram(
            "inspection_audit_write_seconds", "Time that one file and its manifest took.", registry=registry
        )
        self.buffered_bytes = Gauge(
            "inspection_audit_buffered_bytes", "Records read and not written yet.", registry=registry
        )
        self.retries = Counter(
            "inspection_retries_total", "Attempts that will be repeated.", ("stage", "reason"), registry=registry
        )
        self.lag_jobs = Gauge(
            "inspection_lag_jobs", "Records not written yet, by offsets.", ("topic", "partition"), registry=registry
        )
        self.lag_seconds = Gauge(
            "inspection_lag_seconds",
            "Age of the oldest record not written yet.",
            ("topic", "partition"),
            registry=registry,
        )
        self.rebalances = Counter(
            "inspection_rebalances_total", "Partitions assigned, revoked and lost.", ("event",), registry=registry
        )
        self.ready = Gauge("inspection_ready", "1 while /readyz answers 200.", registry=registry)
