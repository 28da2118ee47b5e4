"""Which spans does an OpenTelemetry collector get? One that speaks OTLP over HTTP and keeps what it is sent."""

import gzip
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.rigs.deadline import wait_until


@dataclass(frozen=True)
class SpanSeen:
    """A span as it came over the wire; ids are hex, "" is none, times are nanoseconds since the epoch."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    start: int
    end: int
    attributes: dict[str, Any]
    error: str | None
    service: dict[str, Any]


class Collector:
    """Answers with `status`; while `hold` is set it does not answer at all. Use it in `with`."""

    def __init__(self) -> None:
        self.status = 200
        self.requests = 0
        self.answering = threading.Event()
        self.answering.set()
        self._spans: list[SpanSeen] = []
        collector = self

        class _Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.requests += 1
                collector.answering.wait()
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if collector.status == 200 and self.path == "/v1/traces":
                    collector._spans += _spans_of(body)
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # the base class's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), name="collector").start()
        return self

    def __exit__(self, *_: object) -> None:
        self.answering.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def spans(self) -> list[SpanSeen]:
        return list(self._spans)

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        wait_until(condition, within=20, what=lambda: f"{what}; seen: {[span.name for span in self._spans]}")


def _spans_of(body: bytes) -> list[SpanSeen]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        SpanSeen(
            name=span.name,
            kind=span.kind,
            trace=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            start=span.start_time_unix_nano,
            end=span.end_time_unix_nano,
            attributes=_attributes(span.attributes),
            error=span.status.message if span.status.code == span.status.STATUS_CODE_ERROR else None,
            service=_attributes(resource.resource.attributes),
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
