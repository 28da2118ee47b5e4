"""Do the pages of docs/ say what the software says?"""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from consumer.errors import REASONS
from consumer.schemas import documents
from consumer.settings import KafkaSettings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "DESIGN.md", *sorted((ROOT / "docs").rglob("*.md"))]
MESSAGES = (ROOT / "docs" / "messages.md").read_text(encoding="utf-8")
DOCUMENTS = documents()
EXAMPLES = re.findall(r"<!-- (\S+) -->\n```json\n(.*?)```", MESSAGES, flags=re.DOTALL)


def test_there_are_examples_of_jobs_and_of_results() -> None:
    assert {name for name, _ in EXAMPLES} == {"inspection.job.v1", "inspection.result.v1"}


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_an_example_is_what_its_schema_says(name: str, example: str) -> None:
    jsonschema.validate(json.loads(example), DOCUMENTS[f"{name}.schema.json"])


@pytest.mark.parametrize("name", ["inspection.job.v1", "inspection.result.v1"])
def test_every_field_is_in_an_example(name: str) -> None:
    shown = {field for example, text in EXAMPLES if example == name for field in fields_of(json.loads(text))}
    properties = {
        field
        for definition in DOCUMENTS[f"{name}.schema.json"]["$defs"].values()
        for field in definition.get("properties", {})
    }

    assert properties <= shown


def test_the_settings_of_secured_brokers_are_settings() -> None:
    page = (ROOT / "docs" / "brokers.md").read_text(encoding="utf-8")
    sections = [yaml.safe_load(text)["kafka"] for text in re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)]

    assert {KafkaSettings(**section).extra["security.protocol"] for section in sections} == {"SASL_SSL", "SSL"}


def test_every_reason_has_its_advice() -> None:
    page = (ROOT / "docs" / "dead-letters.md").read_text(encoding="utf-8")

    assert [reason for reason in REASONS if f"`{reason}`" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


def fields_of(document: Any) -> set[str]:
    match document:
        case dict():
            return {*document, *(field for part in document.values() for field in fields_of(part))}
        case list():
            return {field for part in document for field in fields_of(part)}
        case _:
            return set()
