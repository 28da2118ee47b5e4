"""Is a JSON text what a type says, and if not, which of its fields is wrong?"""

import re
from typing import TypeVar

import msgspec

from consumer.errors import Rejected

T = TypeVar("T")

_MISSING = re.compile(r"Object missing required field (?P<field>[\w-]+)$")


def utf8(value: bytes | None) -> bytes:
    """The record's value. Raises Rejected(schema_invalid) if it is no text: decoders pass over what no field asks for,
    so all of it is looked at once, before they do."""
    if value is None:
        raise invalid("$", "the record has no value")
    try:
        value.decode()
    except UnicodeDecodeError as error:
        raise invalid("$", f"not UTF-8 at byte {error.start}") from error
    return value


def parse(decoder: msgspec.json.Decoder[T], text: bytes | msgspec.Raw, at: str = "$") -> T:
    """Raises Rejected(schema_invalid) with the path of the field that is wrong; `at` is the path of the text itself."""
    try:
        return decoder.decode(text)
    except UnicodeDecodeError as error:
        raise invalid(at, f"not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise invalid(at, "nested too deep") from error
    except msgspec.MsgspecError as error:
        path, fact = _explain(str(error))
        raise invalid(at + path.removeprefix("$"), fact) from error


def invalid(path: str, fact: str) -> Rejected:
    return Rejected("schema_invalid", f"{path}: {fact}")


def _explain(text: str) -> tuple[str, str]:
    """msgspec says "Expected `str`, got `int` - at `$.image.key`"; our messages put the path first."""
    fact, _, at = text.replace("`", "").partition(" - at ")
    path = at or "$"
    if missing := _MISSING.match(fact):
        return f"{path}.{missing['field']}", "required, missing"
    if path.endswith(".schema"):
        return path, f"expected inspection.job/1, {fact.lower()}"
    return path, fact.replace("Expected", "expected", 1)
