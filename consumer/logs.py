"""Where log lines go: JSON for machines, text on a terminal; Ultralytics and librdkafka speak through the same door."""

import logging
import sys
import time

from pythonjsonlogger.json import JsonFormatter

from consumer.settings import LoggingSettings

# Attributes that every LogRecord has; what else a record carries came by `extra=` and belongs in the line.
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


class TextFormatter(logging.Formatter):
    """`12:00:01 INFO consumer.runner partitions assigned  partitions=[0, 1]`"""

    converter = staticmethod(time.gmtime)  # UTC

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s", datefmt="%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the base class's name
        fields = "".join(f" {name}={value}" for name, value in record.__dict__.items() if name not in _STANDARD)
        return super().formatMessage(record) + (f" {fields}" if fields else "")


def configure(settings: LoggingSettings) -> None:
    """One handler on the root logger, to stderr; warnings of Python packages come the same way."""
    is_json = settings.format == "json" or (settings.format == "auto" and not sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_json_formatter() if is_json else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level)
    logging.captureWarnings(True)
    # Chatty below warning, and about their own affairs.
    for name in ("botocore", "boto3", "urllib3", "PIL"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _json_formatter() -> logging.Formatter:
    return JsonFormatter(
        "%(levelname)s %(name)s %(message)s",
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="time",
        json_ensure_ascii=False,
    )
