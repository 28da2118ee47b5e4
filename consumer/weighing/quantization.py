"""How do a person's images make int8 weights of f32 ones, and what do those find that the others do not?"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from consumer.detection.engine import Candidates, Pixels, Shape
from consumer.detection.loading import load
from consumer.detection.quantizing import Preset, quantize
from consumer.detection.weights import Weights, find, one_line
from consumer.errors import SettingsError
from consumer.messages import Parameters
from consumer.settings import BatchingSettings, ModelSettings, Settings
from consumer.weighing.agreement import Agreement, agreement
from consumer.weighing.description import Description, describe
from consumer.weighing.placing import place
from consumer.weighing.samples import Samples, found_by, named, slots_of

HELD_OUT = 50  # images that the two files are compared on, a fifth of them where there are few
FEW = 100
PARAMETERS = Parameters(confidence=0.25, iou=0.7, max_detections=300)


class Quantized(msgspec.Struct, frozen=True):
    """`agreement` is that of the int8 weights with the f32 ones on images that were not calibrated with."""

    path: str
    sha256: str
    bytes: int
    calibrated_with: int
    compared_on: int
    agreement: Agreement
    left_out: dict[str, str]


@dataclass(frozen=True)
class _Slots:
    """What NNCF goes through several times: one letterboxed image after the other, as few in memory as it likes."""

    samples: Samples
    image_size: Shape
    stride: int

    def __iter__(self) -> Iterator[Pixels]:
        for slot in slots_of(self.samples, image_size=self.image_size, stride=self.stride, rectangular=False):
            yield slot.pixels[0]


def make_int8(
    source: Path, target: Path, names: list[str], settings: Settings, *, count: int, preset: Preset, force: bool
) -> Quantized:
    """Calibrate with `count` images of those named, or as many as there are, and compare on others.

    Raises SettingsError: weights that are no f32 ONNX file of one image a batch, no images, a target that is there.
    """
    weights = find(ModelSettings(weights=source))
    if weights.suffix != ".onnx":
        raise SettingsError(f"{source} is no .onnx file; `consumer model export --to onnx` makes one")
    described = describe(source)
    _check(described)
    calibrating, held_out = _split(named(names, settings, most=count + HELD_OUT), count)
    with place(target, force=force, source=source) as made:
        _, *size = described.static_shape or (1, *[max(described.image_size)] * 2)
        slots = _Slots(calibrating, (size[0], size[1]), described.stride)
        _quantize(weights, slots, made, preset=preset)
        found = [_found(path, held_out) for path in (source, made)]
        sha256, size_of_file = find(ModelSettings(weights=made)).sha256, made.stat().st_size
    left_out = calibrating.left_out | held_out.left_out
    return Quantized(
        path=str(target),
        sha256=sha256,
        bytes=size_of_file,
        calibrated_with=_readable(calibrating),
        compared_on=_readable(held_out),
        agreement=agreement(*found),
        left_out=left_out,
    )


def _check(described: Description) -> None:
    if described.precision == "int8":
        raise SettingsError(f"{described.path} is int8 already")
    if described.static_shape is not None and described.static_shape[0] not in {None, 1}:
        raise SettingsError(
            f"{described.path} is static at {described.static_shape[0]} images a batch; export it with dynamic=True"
        )
    if described.task != "detect":
        raise SettingsError(f"{described.path} is made for the task {described.task!r}, only detect can be run")


def _split(samples: Samples, count: int) -> tuple[Samples, Samples]:
    """Images to calibrate with and others to compare on, both from all over what was named."""
    references = samples.references
    if len(references) < 2:
        raise SettingsError("--images: one image alone, at least two are needed: to calibrate with and to compare on")
    every = max(2, min(5, len(references)), len(references) // HELD_OUT)
    held_out = references[every - 1 :: every][:HELD_OUT]
    rest = [one for one in references if one not in set(held_out)]
    return replace(samples, references=rest[:count], left_out={}), replace(samples, references=held_out, left_out={})


def _quantize(weights: Weights, slots: _Slots, made: Path, *, preset: Preset) -> None:
    readable = sum(1 for _ in slots)
    if not readable:
        raise SettingsError("--images: none that is left to calibrate with can be read")
    try:
        quantize(weights, slots, made, preset=preset, count=readable)
    except ImportError as error:
        raise SettingsError(f"quantize needs the extra `quantize`: {one_line(error)}") from error


def _found(path: Path, samples: Samples) -> list[Candidates]:
    engine = load(ModelSettings(weights=path, device="cpu"), BatchingSettings(max_batch=1))
    try:
        size, stride = engine.model.image_size, engine.model.stride
        return found_by(engine, slots_of(samples, image_size=size, stride=stride, rectangular=False), PARAMETERS)
    finally:
        engine.close()


def _readable(samples: Samples) -> int:
    return len(samples.references) - len(samples.left_out)
