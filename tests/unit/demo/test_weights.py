"""Are the shipped weights the ones that their cards describe, and do they keep the builder's machine to themselves?"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]
_FOLDERS = (_ROOT / "consumer" / "demo" / "weights", _ROOT / "tests" / "weights")
_WEIGHTS = sorted(path for folder in _FOLDERS for path in folder.iterdir() if path.suffix in {".pt", ".onnx"})


def test_the_weights_are_where_the_cards_say() -> None:
    assert [path.name for path in _WEIGHTS] == [
        "parts-yolo26n.onnx",
        "parts-yolo26n.pt",
        "parts-dense-static.onnx",
        "parts-dense.onnx",
        "parts-dense.pt",
    ]


@pytest.mark.parametrize("weights", _WEIGHTS, ids=lambda path: path.name)
def test_weights_have_the_digest_of_their_card(weights: Path) -> None:
    card = (weights.parent / "README.md").read_text(encoding="utf-8")

    assert f"{hashlib.sha256(weights.read_bytes()).hexdigest()}  {weights.name}" in card


@pytest.mark.parametrize("weights", _WEIGHTS, ids=lambda path: path.name)
def test_weights_tell_no_path_of_the_machine_that_made_them(weights: Path) -> None:
    # Neither file is compressed, so a path would stand in it as it is.
    assert re.findall(rb"/(?:work|tmp|root|home|usr)/|site-packages|dist-packages|\.venv", weights.read_bytes()) == []


def test_shipped_weights_are_small() -> None:
    assert all(path.stat().st_size <= 10_000_000 for path in _WEIGHTS)
    assert sum(path.stat().st_size for path in _WEIGHTS) <= 25_000_000
