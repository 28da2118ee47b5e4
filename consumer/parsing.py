"""Is a JSON text what a type says, and if not, which of its fields is wrong?"""

import re
from typing import TypeVar

import msgspec

from consumer.errors import Rejected

T = TypeVar("T")

MAX_NESTING = 128  # of lists and objects; what decoders take depends on how deep their caller is, and readers differ
# A text without an end reaches to the end: tried anew at each of its quotes, it would take hours.
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)

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
    limit_nesting(value, "$")
    return value


def limit_nesting(text: bytes, at: str) -> None:
    """Raises Rejected(schema_invalid) for what some reader of the outcome could not decode."""
    if text.count(b"[") + text.count(b"{") > MAX_NESTING and _is_too_deep(text):
        raise invalid(at, f"nested too deep, {MAX_NESTING} levels are allowed")


def _is_too_deep(text: bytes) -> bool:
    depth = 0
    for token in _TOKENS.finditer(text):
        match token[0]:
            case b"[" | b"{":
                depth += 1
                if depth > MAX_NESTING:
                    return True
            case b"]" | b"}":
                depth -= 1
    return False


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
