"""Does docs/audit.md name every column with its type?"""

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from consumer.audit.columns import JOBS, JOBS_SCHEMA, OUTCOMES, OUTCOMES_SCHEMA

PAGE = (Path(__file__).parents[3] / "docs" / "audit.md").read_text(encoding="utf-8")
NAMES = {
    pl.String(): "string",
    pl.Int32(): "int32",
    pl.Int64(): "int64",
    pl.Float64(): "double",
    pl.Boolean(): "boolean",
    pl.Binary(): "bytes",
    pl.Datetime("ms", "UTC"): "timestamp (ms, UTC)",
}


@pytest.mark.parametrize(("name", "schema"), [(OUTCOMES_SCHEMA, OUTCOMES), (JOBS_SCHEMA, JOBS)])
def test_every_column_stands_there_with_its_type_in_its_order(name: str, schema: pl.Schema) -> None:
    section = PAGE.partition(f"`{name}`\n")[2].partition("\n## ")[0].partition("\n### ")[0]
    listed = re.findall(r"^\| `(\w+)` \| (.+?) \|", section, flags=re.MULTILINE)

    assert listed == [(column, said(kind)) for column, kind in schema.items()]


def said(kind: Any) -> str:
    match kind:
        case pl.List():
            return f"list of {said(kind.inner)}"
        case pl.Struct():
            return f"struct({', '.join(f'{field.name} {said(field.dtype)}' for field in kind.fields)})"
        case _:
            return NAMES[kind]
