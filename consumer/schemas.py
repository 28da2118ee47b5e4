"""The files in schemas/, written from the types in messages.py: `python -m consumer.schemas`."""

import json
from pathlib import Path
from typing import Any, get_args

import msgspec

from consumer import settings_schema
from consumer.errors import REASONS, Stage
from consumer.messages import JobMessage, ResultMessage

FOLDER = Path(__file__).parent.parent / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def documents() -> dict[str, dict[str, Any]]:
    """Every generated document by its file name."""
    return {
        "inspection.job.v1.schema.json": _schema(JobMessage, "inspection:job:1"),
        "inspection.result.v1.schema.json": _schema(ResultMessage, "inspection:result:1"),
        "asyncapi.json": _asyncapi(),
    }


def render(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _schema(message: type, name: str) -> dict[str, Any]:
    return {"$schema": DIALECT, "$id": f"urn:{name}", **msgspec.json.schema(message)}


def _asyncapi() -> dict[str, Any]:
    """AsyncAPI 3: the three topics, what is on them, and who writes and reads it."""
    text = {"type": "string"}
    redriven = {f"inspection-redriven-{what}": text for what in ("by", "at", "count", "from")}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Inspection consumer", "version": "1", "license": {"name": "Apache-2.0"}},
        "defaultContentType": "application/json",
        "channels": {
            "jobs": _channel("inspection.jobs", "Images to inspect.", "job", "event"),
            "results": _channel("inspection.results", "One for each inspected image.", "result"),
            "deadLetters": _channel("inspection.dead-letters", "Jobs that cannot be done as they are.", "deadLetter"),
        },
        "operations": {
            "receiveJob": {"action": "receive", "channel": {"$ref": "#/channels/jobs"}},
            "sendResult": {"action": "send", "channel": {"$ref": "#/channels/results"}},
            "sendDeadLetter": {"action": "send", "channel": {"$ref": "#/channels/deadLetters"}},
        },
        "components": {
            "messages": {
                "job": {
                    "payload": {"$ref": "./inspection.job.v1.schema.json"},
                    "headers": _headers(
                        {**redriven, "inspection-job-id": text, "traceparent": text, "tracestate": text}
                    ),
                },
                "event": {
                    "summary": "What a store tells of objects: one job for each that was written (docs/events.md).",
                    "payload": {},
                    "headers": _headers(
                        {
                            "inspection-job-id": text,
                            **redriven,
                            "inspection-job-index": text,
                            "traceparent": text,
                            "tracestate": text,
                        }
                    ),
                },
                "result": {
                    "payload": {"$ref": "./inspection.result.v1.schema.json"},
                    "headers": _headers({"inspection-job-id": text, "traceparent": text, "tracestate": text}),
                },
                "deadLetter": {
                    "summary": "Key, value and headers of the job, byte for byte, and these headers.",
                    "payload": {},
                    "headers": _headers(
                        {
                            "inspection-error-reason": {"enum": list(REASONS)},
                            "inspection-error-stage": {"enum": list(get_args(Stage))},
                            "inspection-error-attempts": text,
                            "inspection-error-retryable": {"enum": ["true", "false"]},
                            "inspection-job-id": text,
                            "inspection-job-index": text,
                            "inspection-original-omitted": {"enum": ["true"]},
                            "inspection-original-bytes": text,
                            "inspection-original-sha256": text,
                            "__connect.errors.topic": text,
                            "__connect.errors.partition": text,
                            "__connect.errors.offset": text,
                            "__connect.errors.stage": text,
                            "__connect.errors.exception.class.name": text,
                            "__connect.errors.exception.message": text,
                        }
                    ),
                },
            }
        },
    }


def _channel(address: str, description: str, *messages: str) -> dict[str, Any]:
    references = {message: {"$ref": f"#/components/messages/{message}"} for message in messages}
    return {"address": address, "description": description, "messages": references}


def _headers(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, document in documents().items():
        (FOLDER / name).write_text(render(document), encoding="utf-8")
    settings_schema.FILE.write_text(render(settings_schema.document()), encoding="utf-8")
