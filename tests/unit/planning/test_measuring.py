"""Is what is measured the work of this machine's images, engine and settings?"""

import os
from pathlib import Path

import msgspec
import pytest

from consumer.errors import SettingsError
from consumer.images.decode import decode
from consumer.planning.measurements import SCHEMA
from consumer.planning.measuring import GET_PLAIN, GET_TLS, measure
from consumer.planning.samples import MOST, named_samples, rendered_samples, size_of_name
from consumer.settings import ImageSettings, Settings
from tests.rigs.jobs import picture

LIMITS = ImageSettings(allowed_buckets=("*",))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.planning.measuring.STAGE_SECONDS", 0.0)
    monkeypatch.setattr("consumer.planning.measuring.ENGINE_SECONDS", 0.0)


def settings(engine: str = "tests.stand_ins:null_engine", **sections: object) -> Settings:
    plain = {"images": {"allowed_buckets": ["*"]}, "model": {"engine": engine}, "batching": {"max_batch": 4}}
    return Settings.model_validate(plain | sections)


def test_a_rendered_part_has_the_size_that_was_named() -> None:
    samples = rendered_samples((200, 120))
    assert {decode(sample.content, LIMITS).pixels.shape for sample in samples} == {(120, 200, 3)}
    assert len({sample.content for sample in samples}) == len(samples)


def test_a_larger_picture_than_is_rendered_in_one_piece_has_its_size_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.planning.samples.LARGEST", (96, 64))
    assert decode(rendered_samples((250, 130))[0].content, LIMITS).pixels.shape == (130, 250, 3)


def test_sizes_are_read() -> None:
    assert size_of_name("1080p", LIMITS) == (1920, 1080)
    assert size_of_name("640x480", LIMITS) == (640, 480)


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("big", "'big' is no size"),
        ("640×480", "is no size"),
        ("-1x5", "is no size"),
        ("0x480", "less than 32 pixels"),
        ("20000x100", r"limit 16384 a side \(images.max_side\)"),
        ("10000x10000", r"limit 50000000 pixels \(images.max_pixels\)"),
    ],
)
def test_what_is_no_size_and_what_a_consumer_would_reject_is_refused(name: str, fact: str) -> None:
    with pytest.raises(SettingsError, match=f"--image: .*{fact}"):
        size_of_name(name, LIMITS)


def test_measurements_tell_of_the_images_and_the_engine() -> None:
    samples = rendered_samples((320, 240))
    measured = measure(settings(), samples)
    assert measured.schema == SCHEMA
    assert (measured.images.size, measured.images.count, measured.images.pixels) == ("320x240", 3, 320 * 240)
    assert measured.images.bytes == round(sum(len(sample.content) for sample in samples) / 3)
    assert (measured.engine.engine, measured.engine.places, measured.engine.max_batch) == ("stand-in", 2, 4)
    assert measured.slot_bytes == 2 * 3 * 4 * 64 * 64 * 3
    assert measured.engine.batch_seconds == pytest.approx(8 * measured.engine.seconds)
    assert 500 < measured.result_bytes < 2000
    assert 150 < measured.job_bytes < 500
    assert msgspec.json.decode(msgspec.json.encode(measured), type=type(measured)) == measured


def test_a_get_that_was_not_made_is_a_constant_by_the_kind_of_connection() -> None:
    samples = rendered_samples((320, 240))
    size = sum(len(sample.content) for sample in samples) / 3
    plain = measure(settings(s3={"endpoint_url": "http://store:8333"}), samples).work
    secured = measure(settings(), samples).work
    assert plain.fetch == pytest.approx(GET_PLAIN[0] + GET_PLAIN[1] * size)
    assert secured.fetch == pytest.approx(GET_TLS[0] + GET_TLS[1] * size)
    assert "TLS" in secured.fetch_source


@pytest.mark.thorough
def test_the_places_of_an_engine_work_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wall time of an image is that of a batch by the places; no upper bound, since a machine may be busy."""
    monkeypatch.setitem(os.environ, "STAND_IN_PLACES", "20")
    monkeypatch.setitem(os.environ, "STAND_IN_SECONDS", "0.1")
    engine = measure(settings("tests.scaling.engine:sleeping_engine"), rendered_samples((64, 64))).engine
    assert engine.places == 20
    assert engine.seconds >= 0.1 / 20 * 0.9
    assert engine.cpu_seconds < engine.seconds * 20


def test_own_images_are_those_of_a_folder(tmp_path: Path) -> None:
    for seed in range(MOST + 2):
        (tmp_path / f"{seed:02}.jpg").write_bytes(picture(64 + seed, 64, seed=seed))
    samples = named_samples(settings(), [str(tmp_path)])
    assert len(samples) == MOST
    assert {sample.fetch_seconds for sample in samples} == {None}
    assert measure(settings(), samples).images.size == "mixed"


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--images: .*holds no file"):
        named_samples(settings(), [str(tmp_path)])


def test_an_image_that_a_consumer_would_reject_is_refused(tmp_path: Path) -> None:
    (tmp_path / "torn.jpg").write_bytes(picture(64, 64)[:300])
    with pytest.raises(SettingsError, match=r"--images: .*torn\.jpg: the image"):
        measure(settings(), named_samples(settings(), [str(tmp_path)]))
