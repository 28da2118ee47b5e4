"""Are images without end looked at in order, a few ahead, until somebody has seen enough?"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.messages import Result
from consumer.settings import Settings
from consumer.spotcheck import WINDOW, Asked, check
from tests.rigs.jobs import STAND_IN, picture


@pytest.mark.thorough
def test_images_without_end_are_looked_at_a_few_ahead(tmp_path: Path) -> None:
    image = tmp_path / "part.jpg"
    image.write_bytes(picture(40, 30))
    settings = Settings.model_validate({"images": {"allowed_buckets": ["*"]}, "model": STAND_IN})
    named = itertools.count()

    def names() -> Iterator[str]:
        for _ in named:
            yield str(image)

    checks = check(settings, Asked(names(), picture=".png"))
    found = list(itertools.islice(checks, 2 * WINDOW))
    checks.close()

    offsets = [one.outcome.body.source.offset for one in found if isinstance(one.outcome, Result)]
    assert offsets == list(range(2 * WINDOW))
    assert all(one.picture for one in found)
    assert next(named) <= 3 * WINDOW
