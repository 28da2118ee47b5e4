"""Do editors know of the settings what the software knows?"""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from consumer.__main__ import app
from consumer.schemas import render
from consumer.settings import Settings
from consumer.settings_schema import FILE, document

SCHEMA = document()
KEYS = [(section, key) for section, part in SCHEMA["properties"].items() for key in part["properties"]]


def is_valid(text: str) -> bool:
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(yaml.safe_load(text))


def test_the_file_is_what_the_types_and_the_comments_say() -> None:
    """`make schemas` writes it again."""
    assert FILE.read_text(encoding="utf-8") == render(SCHEMA)


def test_it_is_a_schema_and_the_settings_file_holds_to_it() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert is_valid((Path(__file__).parents[2] / "settings.yaml").read_text(encoding="utf-8"))


def test_it_knows_every_key() -> None:
    assert [section for section, _ in KEYS] == [
        section
        for section, field in Settings.model_fields.items()
        for _ in field.annotation.model_fields  # type: ignore[union-attr]
    ]


def test_it_tells_what_the_comments_tell() -> None:
    kafka = SCHEMA["properties"]["kafka"]["properties"]
    assert kafka["group_id"]["description"] == "replicas with one id share the partitions of the jobs topic"
    assert kafka["extra"]["description"].endswith("Passwords belong in the environment or a secret file.")
    assert SCHEMA["properties"]["images"]["properties"]["allowed_buckets"]["description"].startswith("REQUIRED")
    undescribed = [
        key for section, key in KEYS if "description" not in SCHEMA["properties"][section]["properties"][key]
    ]
    assert undescribed == ["jobs", "results", "dead_letters"]  # their section says it


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kafka:\n",
        "kafka: {extra: {sasl.password: x, retries: 5}}",
        "images: {max_bytes: 20MiB}",
        "images: {max_bytes: 100}",
        "model: {weights: null, nms_free: true, sha256: " + "ab" * 32 + "}",
        "limits: {max_job_age: null, max_in_flight_bytes: 1.5 GB}",
    ],
)
def test_what_may_be_said_is_valid(text: str) -> None:
    assert is_valid(text)


@pytest.mark.parametrize(
    "text",
    [
        "kafk: {}",
        "kafka: {group: x}",
        "kafka: {start: middle}",
        "kafka: {extra: {x: [1]}}",
        "images: {allowed_buckets: []}",
        "images: {max_bytes: many}",
        "images: {max_bytes: 0}",
        "model: {device: gpu}",
        "http: {port: 70000}",
        "- kafka",
    ],
)
def test_what_is_refused_at_the_start_is_marked_in_the_editor(text: str) -> None:
    assert not is_valid(text)


def test_the_command_prints_it() -> None:
    printed: dict[str, Any] = json.loads(CliRunner().invoke(app, ["config", "schema"]).stdout)
    assert printed == SCHEMA
