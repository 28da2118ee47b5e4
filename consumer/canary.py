"""Does the engine still answer as it did when it was warm?"""

from typing import NamedTuple

import numpy as np

from consumer.batcher import Batcher
from consumer.detection.engine import Candidates, Model, Pixels, Shape
from consumer.errors import Abandoned, EngineBroken

LOOKED_AT = 10  # of the most confident candidates: later ones of a dense head change places for a rounding
FIGURES = 40
SEED = 1


class Apart(NamedTuple):
    """A bucket of the canary's own: its answer does not depend on batch-mates, and no job waits with it."""

    height: int
    width: int
    whose: str = "canary"


Bucket = Shape | Apart


class WrongAnswer(EngineBroken):
    """The canary was answered otherwise than at the start, or not at all; once may be a glitch."""


class Tolerance(NamedTuple):
    pixels: float
    confidence: float


# Batches of 1 to 16 changed answers on a CPU by 3e-5 pixels and 4e-7 of confidence in torch's f32, and not at all in
# its bf16 and in OpenVINO. Between f32 and bf16 lay up to 16 pixels; other images' answers lie beyond both tolerances.
EXACT = Tolerance(pixels=0.5, confidence=0.005)
ROUGH = Tolerance(pixels=16.0, confidence=0.1)


class Canary:
    """An image made by code, which goes to the engine on the way that jobs go. Its first answer is the reference."""

    def __init__(self, batcher: Batcher[Bucket, Candidates], model: Model, *, deadline: float) -> None:
        """Raises EngineBroken if the engine, which is warm, cannot answer it."""
        self._batcher = batcher
        self._deadline = deadline
        self._bucket = Apart(*model.image_size)
        self._picture = picture(model.image_size)
        self._tolerance = EXACT if model.precision == "f32" else ROUGH
        self._reference = self._answer()

    @property
    def idle_for(self) -> float:
        """Seconds since the engine's last answer to anybody; 0 while it is busy."""
        return self._batcher.idle_for

    def ask(self) -> None:
        """Return if the engine answers rightly. Raises WrongAnswer; EngineBroken if it takes longer than the
        deadline; Abandoned when the batcher is closed."""
        fact = differs(self._answer(), self._reference, self._tolerance)
        if fact is not None:
            raise WrongAnswer(f"the engine answers the canary otherwise than at its start: {fact}")

    def _answer(self) -> Candidates:
        with self._batcher.seat(self._bucket) as seat:
            seat.slot[:] = self._picture
        try:
            return seat.answer(self._deadline)
        except (EngineBroken, Abandoned):
            raise
        except Exception as error:  # whatever an engine raises
            raise WrongAnswer(f"the engine fails on the canary: {type(error).__name__}: {error}") from error


def picture(shape: Shape) -> Pixels:
    """Rectangles and discs in many colours and sizes, the same ones every time: uint8 [height, width, 3] BGR."""
    height, width = shape
    random = np.random.default_rng(SEED)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    pixels = np.full((height, width, 3), 96, np.uint8)
    for number in range(FIGURES):
        y, x, tall, wide = random.random(4) * (height, width, height / 4, width / 4)
        down, right = np.abs(rows - y) / max(tall, 1), np.abs(columns - x) / max(wide, 1)
        inside = np.maximum(down, right) < 1 if number % 2 else np.hypot(down, right) < 1
        pixels[inside] = random.integers(0, 256, 3, np.uint8)
    return pixels


def differs(answer: Candidates, reference: Candidates, tolerance: Tolerance) -> str | None:
    """How an answer differs from the reference, both float32 [k, 6] as engines give them; None if they agree.

    They agree when each of the most confident candidates of the one is found in the other, of all its candidates:
    every side of its box and its confidence within the tolerance. A value that is not finite is never found. Order
    does not count, nor does the class: nearly equal ones change places for a rounding.
    """
    found = _missing(reference, answer, tolerance)
    if found:
        return f"{found} of its {min(LOOKED_AT, len(reference))} most confident candidates are gone"
    if _missing(answer, reference, tolerance):
        return "it has candidates that it had not"
    return None


def _missing(wanted: Candidates, found: Candidates, tolerance: Tolerance) -> int:
    """How many of the most confident of the one have no like in the other."""
    most = wanted[np.argsort(-wanted[:, 4], kind="stable")[:LOOKED_AT], np.newaxis, :5]
    limits = np.array([tolerance.pixels] * 4 + [tolerance.confidence], np.float32)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        is_like = (np.abs(most - found[:, :5]) <= limits).all(axis=2)
    return int((~is_like.any(axis=1)).sum())
