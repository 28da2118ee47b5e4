"""How do a person's images make int8 weights of f32 ones, and what do those find that the others do not?"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from consumer.detection.engine import Candidates, Model, Pixels, Shape
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
    """`agreement` is that of the int8 weights with the f32 ones on images that were not calibrated with; `image_size`
    is the longer side, in pixels, of both."""

    path: str
    sha256: str
    bytes: int
    image_size: int
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
    source: Path,
    target: Path,
    names: list[str],
    settings: Settings,
    *,
    image_size: int | None = None,
    count: int,
    preset: Preset,
    force: bool,
) -> Quantized:
    """Calibrate with `count` images of those named, or as many as there are, and compare on others.

    `image_size`: the longer side in pixels at which the weights are to run, else their own. Ranges of another size are
    worse ones. Raises SettingsError: weights that are no f32 ONNX file of one image a batch, a size that they cannot
    run, no images, a target that is there.
    """
    weights = find(ModelSettings(weights=source))
    if weights.suffix != ".onnx":
        raise SettingsError(f"{source} is no .onnx file; `consumer model export --to onnx` makes one")
    described = describe(source)
    _check(described)
    calibrating, held_out = _split(named(names, settings, most=count + HELD_OUT), count)
    with place(target, force=force, source=source) as made:
        model, expected = _found(source, held_out, image_size)
        _quantize(weights, _Slots(calibrating, model.image_size, model.stride), made, preset=preset)
        _, found = _found(made, held_out, image_size)
        sha256, size_of_file = find(ModelSettings(weights=made)).sha256, made.stat().st_size
    left_out = calibrating.left_out | held_out.left_out
    return Quantized(
        path=str(target),
        sha256=sha256,
        bytes=size_of_file,
        image_size=max(model.image_size),
        calibrated_with=_readable(calibrating),
        compared_on=_readable(held_out),
        agreement=agreement(expected, found),
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
        quantize(weights, slots, made, preset=preset, count=readable, image_size=max(slots.image_size))
    except ImportError as error:
        raise SettingsError(f"quantize needs the extra `quantize`: {one_line(error)}") from error


def _found(path: Path, samples: Samples, image_size: int | None) -> tuple[Model, list[Candidates]]:
    wanted = ModelSettings(weights=path, device="cpu", image_size=image_size)
    engine = load(wanted, BatchingSettings(max_batch=1))
    try:
        model = engine.model
        slots = slots_of(samples, image_size=model.image_size, stride=model.stride, rectangular=False)
        return model, found_by(engine, slots, PARAMETERS)
    finally:
        engine.close()


def _readable(samples: Samples) -> int:
    return len(samples.references) - len(samples.left_out)
