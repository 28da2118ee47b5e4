"""The JSON Schema of settings.yaml, for editors: types from settings.py, descriptions from the file's own comments.

It is written by `python -m consumer.schemas` and ships with the package, which settings.yaml does not.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from consumer.settings import Settings

FILE = Path(__file__).parent / "settings.schema.json"
DOCUMENTED = Path(__file__).parent.parent / "settings.yaml"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

_SECTION = re.compile(r"(\w+):(?: +# (.*))?$")
_KEY = re.compile(r"  (?:# )?(\w+):(?: .*?)?(?:  +# (.*))?$")
_MORE = re.compile(r" {8,}# (.*)$")
_SIZE = [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"^\s*\d*\.?\d+\s*[A-Za-z]*$"}]
# What the library adds and editors show for nothing, or cannot read.
_NOISE = ("title", "required", "ge")


def document() -> dict[str, Any]:
    """Nothing is required of the file: every key may come from the environment. A section may be empty."""
    comments = dict(_comments(DOCUMENTED.read_text(encoding="utf-8")))
    schema = Settings.model_json_schema()
    parts = {name: _part(name, schema, comments) for name in Settings.model_fields}
    return {
        "$schema": DIALECT,
        "$id": "urn:inspection:settings",
        "title": "Settings of the inspection consumer",
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": parts,
    }


def _part(section: str, schema: dict[str, Any], comments: dict[str, str]) -> dict[str, Any]:
    """One section, its definition in place of the reference to it."""
    name = schema["properties"][section]["$ref"].removeprefix("#/$defs/")
    keys = {
        key: _described(_key(said), comments.get(f"{section}.{key}", ""))
        for key, said in schema["$defs"][name]["properties"].items()
    }
    part = {"type": ["object", "null"], "additionalProperties": False, "properties": keys}
    return _described(part, comments.get(section, ""))


def _key(said: dict[str, Any]) -> dict[str, Any]:
    plain = {name: value for name, value in said.items() if name not in _NOISE}
    return plain | {"anyOf": _SIZE} if "ge" in said else plain  # sizes are numbers, or text such as 32MiB


def _described(schema: dict[str, Any], comment: str) -> dict[str, Any]:
    return {"description": comment, **schema} if comment else schema


def _comments(text: str) -> Iterator[tuple[str, str]]:
    """`section` or `section.key`, and what its comment says; lines of comment alone go on with the one before."""
    said: dict[str, list[str]] = {}
    section = name = ""
    for line in text.splitlines():
        if found := _SECTION.match(line):
            section = name = found[1]
            said[name] = [found[2] or ""]
        elif found := _KEY.match(line):
            name = f"{section}.{found[1]}"
            said[name] = [found[2] or ""]
        elif (found := _MORE.match(line)) and name:
            said[name].append(found[1])
    return ((name, " ".join(filter(None, lines))) for name, lines in said.items())
