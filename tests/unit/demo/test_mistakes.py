"""Is each bad job of the demo bad in the way that it says?"""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from consumer.demo.mistakes import FORBIDDEN_BUCKET, Mistake, bomb, job, mistakes
from consumer.errors import Rejected
from consumer.images.decode import decode
from consumer.intake import contents_of
from consumer.settings import ImageSettings
from tests.unit.samples import a_record

LIMITS = ImageSettings(allowed_buckets=("parts",))
MISTAKES = {mistake.name: mistake for mistake in mistakes("parts", "bad/")}


def test_every_kind_occurs_once_and_has_a_record_key_of_its_own() -> None:
    assert {mistake.reason for mistake in MISTAKES.values()} == {
        "image_not_found",
        "image_undecodable",
        "image_format_unsupported",
        "image_too_many_pixels",
        "bucket_not_allowed",
        "schema_invalid",
    }
    assert len({mistake.key for mistake in MISTAKES.values()}) == len(MISTAKES)


@pytest.mark.parametrize(
    "mistake", [one for one in MISTAKES.values() if one.content is not None], ids=lambda one: one.name
)
def test_what_is_uploaded_is_refused_for_the_reason_that_is_named(mistake: Mistake) -> None:
    with pytest.raises(Rejected) as caught:
        decode(mistake.content or b"", LIMITS)

    assert caught.value.reason == mistake.reason


def test_broken_json_is_no_job() -> None:
    with pytest.raises(Rejected) as caught:
        contents_of(a_record(MISTAKES["broken JSON"].value))

    assert caught.value.reason == "schema_invalid"


@pytest.mark.parametrize("name", [name for name in MISTAKES if name != "broken JSON"])
def test_the_others_are_jobs_that_can_be_read(name: str) -> None:
    (read,) = contents_of(a_record(MISTAKES[name].value)).jobs

    assert read.image.key == MISTAKES[name].key
    assert LIMITS.allows(read.image.bucket) == (name != "forbidden bucket")


def test_missing_and_forbidden_images_are_not_uploaded() -> None:
    assert MISTAKES["missing object"].content is None
    assert MISTAKES["forbidden bucket"].content is None
    (read,) = contents_of(a_record(job(FORBIDDEN_BUCKET, "a.jpg"))).jobs
    assert urlsplit(read.image.uri).netloc == FORBIDDEN_BUCKET


def test_the_bomb_is_small_and_harmless_at_a_harmless_size() -> None:
    assert len(bomb(60_000)) < 200
    assert decode(bomb(16), LIMITS).pixels.shape == (16, 16, 3)
