"""Does each hostile image become what its case says, at a cost that its size explains?"""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from consumer.errors import Rejected
from consumer.images.decode import decode
from consumer.settings import ImageSettings
from tests.hostile import files
from tests.hostile.fuzz import image_files, summed, try_image
from tests.hostile.image_case import PNG, ImageCase
from tests.hostile.images import CASES

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]
LIMITS = ImageSettings(allowed_buckets=("parts",))
MAX_GROWTH = 64  # megabytes of memory, whatever a file of some bytes or of 32 MB asks for
MEASURED = f"""
import resource
from consumer.errors import Rejected
from consumer.images.decode import decode
from consumer.settings import ImageSettings
from tests.hostile.bombs import enormous
from tests.hostile.image_case import PNG

limits = ImageSettings(allowed_buckets=("parts",))
decode(PNG, limits)
for name, content in enormous():
    assert len(content) <= limits.max_bytes, name
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        decode(content, limits)
    except Rejected as rejection:
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
        print(name, rejection.reason, "small" if grown < {MAX_GROWTH} else f"{{grown}} MB")
"""


def test_there_are_as_many_cases_as_are_promised() -> None:
    assert len(CASES) >= 140
    assert len({case.key for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_image_becomes_what_its_case_says(case: ImageCase) -> None:
    shape, outcome = None, "result"
    try:
        shape = decode(case.content, LIMITS).pixels.shape[:2]
    except Rejected as rejection:
        outcome = rejection.reason
    assert outcome in case.outcomes
    assert case.shape in (None, shape)


def test_the_worst_files_cost_neither_memory_nor_minutes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURED], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )

    undecodable = ("segments", "chunks", "scans", "texts", "strips", "tags", "claim")
    too_many = ("canvas", "pixels")
    assert sorted(done.stdout.splitlines()) == sorted(
        [f"{name} image_undecodable small" for name in undecodable]
        + [f"{name} image_too_many_pixels small" for name in too_many]
    )


def test_a_changed_png_can_be_given_its_checksums_again() -> None:
    spoiled = files.with_chunks(PNG, b"\x00\x00\x00\x01teSt!\x00\x00\x00\x00")

    assert summed(PNG) == PNG
    assert summed(spoiled) == files.with_chunks(PNG, files.chunk(b"teSt", b"!"))


@settings(max_examples=200, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(image_files())
def test_any_file_gives_pixels_or_a_refusal(content: bytes) -> None:
    try_image(content)
