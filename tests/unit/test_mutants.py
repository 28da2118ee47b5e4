"""Does each guard of `make mutants` still stand where the table says, and is there the test that must notice?"""

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.mutants.bench import edited
from tests.mutants.guard import Guard
from tests.mutants.table import GUARDS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_stands_in_the_code_once_and_without_it_the_code_is_still_python(guard: Guard) -> None:
    for edit in guard.edits:
        ast.parse(edited((ROOT / edit.file).read_text(), edit))


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_names_tests_that_are_there(guard: Guard) -> None:
    assert guard.tests
    for test in guard.tests:
        file, _, name = test.partition("::")
        assert name.partition("[")[0] in functions_of(ROOT / file)


@cache
def functions_of(file: Path) -> frozenset[str]:
    tree = ast.parse(file.read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
