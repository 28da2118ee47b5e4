"""Are jobs traced? Where the standard OTEL_* variables name a collector, and nowhere else."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Protocol

from consumer.errors import SettingsError
from consumer.inspector import Claim, Progress
from consumer.ledger import Entry
from consumer.messages import Job, Message
from consumer.settings import Settings

Head = Entry[int, Message]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")  # the first one wins
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"


class Tracing(Protocol):
    """What is told of jobs, see spans.py. From one thread at a time, but for `inspected`."""

    def inspected(self, job: Job, claim: Claim, progress: Progress) -> None:
        """An inspection ended; its outcome is not delivered yet."""

    def delivered(self, entry: Head) -> None:
        """The outcomes of a record were committed, by us or, where it is unfinished, by somebody else."""

    def dropped(self) -> None:
        """Claims were dropped: their jobs are for others to finish."""


@contextlib.contextmanager
def open_tracing(settings: Settings, environment: Mapping[str, str] = os.environ) -> Iterator[Tracing | None]:
    """None, and OpenTelemetry is not even imported, unless an endpoint is set and tracing is not switched off.

    Raises SettingsError for an endpoint or a protocol that cannot be used, and where the extra `otel` is missing.
    """
    variable = next((name for name in _ENDPOINTS if environment.get(name)), None)
    if variable is None or _is_off(environment):
        yield None
        return
    endpoint = environment[variable]
    if not endpoint.startswith(("http://", "https://")):
        raise SettingsError(f"{variable}: expected http://… or https://…, got {endpoint!r}")
    protocol = next((text for name in _PROTOCOLS if (text := environment.get(name))), _PROTOCOL)
    if protocol != _PROTOCOL:
        raise SettingsError(
            f"{variable} is set, but only {_PROTOCOL} is spoken, not {protocol!r} (port 4318, not 4317)"
        )
    try:
        from consumer.spans import open_spans
    except ImportError as error:
        raise SettingsError(
            f"{variable} is set, but OpenTelemetry is not installed ({error}): pip install '.[otel]' in a checkout"
        ) from error
    with open_spans(settings.kafka.group_id, endpoint) as spans:
        yield spans


def _is_off(environment: Mapping[str, str]) -> bool:
    exporters = environment.get("OTEL_TRACES_EXPORTER") or "otlp"
    is_disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return is_disabled or "otlp" not in exporters.replace(" ", "").split(",")
