"""Which engine runs these weights fastest on this machine, and do all of them find the same?"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import msgspec

from consumer.detection.engine import Candidates, Pixels
from consumer.errors import SettingsError
from consumer.messages import Parameters
from consumer.settings import ModelSettings
from consumer.weighing.agreement import Agreement, agreement
from consumer.weighing.contender import CannotRunError, Contender, Round
from consumer.weighing.description import ENGINES, Description, describe

ROUNDS = 3
PRECISIONS = ("f32", "bf16", "f16", "int8")
SHAPES = ("square", "rectangular")
PARAMETERS = Parameters(confidence=0.25, iou=0.7, max_detections=300)


@dataclass(frozen=True, slots=True)
class Combination:
    weights: Path
    engine: str
    precision: str
    shapes: str

    @property
    def is_reference(self) -> bool:
        return (self.engine, self.precision) == ("torch", "f32")

    def settings(self, image_size: int | None) -> ModelSettings:
        return ModelSettings.model_validate(
            {
                "weights": self.weights,
                "engine": self.engine,
                "precision": self.precision,
                "shapes": self.shapes,
                "image_size": image_size,
            }
        )


class Row(msgspec.Struct, frozen=True):
    """Medians of the rounds. `reason` says why there are no numbers; `agreement` is None for the reference itself."""

    weights: str
    engine: str
    precision: str
    shapes: str
    device: str | None = None
    images_per_second: float | None = None
    milliseconds_alone: float | None = None
    cpu_seconds_per_image: float | None = None
    start_seconds: float | None = None
    rss_bytes: int | None = None
    is_reference: bool = False
    agreement: Agreement | None = None
    reason: str | None = None


def combinations(
    files: Sequence[Path],
    *,
    engines: Sequence[str] | None,
    precisions: Sequence[str] | None,
    shapes: Sequence[str],
) -> list[Combination]:
    """What is to be tried, the surest reference first; what nobody asked for and no engine could run is left out."""
    _check("--engines", engines or (), ENGINES)
    _check("--precisions", precisions or (), PRECISIONS)
    _check("--shapes", shapes, SHAPES)
    found = [
        Combination(path, engine, precision, shape)
        for path, described in ((path, describe(path)) for path in files)
        for engine in engines or _suited(described)
        for precision in precisions or _usual(described)
        for shape in shapes
    ]
    return sorted(found, key=lambda one: not one.is_reference)


def bench(
    wanted: Sequence[Combination],
    images: Sequence[Pixels],
    *,
    seconds: float,
    image_size: int | None,
    report: Callable[[str], object],
) -> list[Row]:
    """Run each combination in a process of its own, `seconds` in all, in turns, and compare what they find."""
    rows: dict[Combination, Row] = {}
    rounds: dict[Combination, list[Round]] = {}
    with ExitStack() as stack:
        running: dict[Combination, Contender] = {}
        for one in wanted:
            report(f"starting {one.engine} {one.precision} {one.shapes} {one.weights.name}")
            try:
                running[one] = Contender(one.settings(image_size), images, PARAMETERS)
                stack.callback(running[one].close)
            except CannotRunError as error:
                rows[one] = _cannot(one, error)
        for number in range(ROUNDS):
            report(f"round {number + 1} of {ROUNDS}")
            for one, contender in [*running.items()]:
                try:
                    rounds.setdefault(one, []).append(contender.run(seconds / ROUNDS))
                except CannotRunError as error:
                    rows[one] = _cannot(one, error)
                    del running[one]
        references = {one.shapes: one for one in reversed(running)}  # of each policy the first that runs
        for one, contender in running.items():
            reference = references[one.shapes]
            against = None if one == reference else running[reference].started.found
            rows[one] = _row(one, contender, rounds[one], against)
    return [rows[one] for one in wanted]


def _row(one: Combination, contender: Contender, rounds: Sequence[Round], against: list[Candidates] | None) -> Row:
    model, found = contender.started.model, contender.started.found
    return Row(
        weights=str(one.weights),
        engine=one.engine,
        precision=model.precision,
        shapes=one.shapes,
        device=model.device,
        images_per_second=median(turn.images / turn.seconds for turn in rounds),
        milliseconds_alone=median(1000 * turn.alone for turn in rounds),
        cpu_seconds_per_image=median(turn.cpu_seconds / turn.images for turn in rounds),
        start_seconds=contender.started.seconds,
        rss_bytes=max(turn.rss for turn in rounds),
        is_reference=against is None,
        agreement=None if against is None else agreement(against, found),
    )


def _cannot(one: Combination, error: CannotRunError) -> Row:
    return Row(str(one.weights), one.engine, one.precision, one.shapes, reason=str(error))


def _suited(described: Description) -> list[str]:
    """Every engine but torch, where the weights are not its own: for the others the reason is a row."""
    return [engine for engine in ENGINES if engine != "torch" or described.path.endswith(".pt")]


def _usual(described: Description) -> tuple[str, ...]:
    return ("int8",) if described.precision == "int8" else ("f32", "bf16")


def _check(option: str, given: Sequence[str], known: Sequence[str]) -> None:
    for one in given:
        if one not in known:
            raise SettingsError(f"{option}: {one!r} is none of {', '.join(known)}")
