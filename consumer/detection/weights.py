"""Which weights are to be run, and what they say of themselves."""

import ast
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from consumer.detection.engine import Shape
from consumer.errors import SettingsError
from consumer.settings import ModelSettings

SUFFIXES = (".pt", ".onnx")


@dataclass(frozen=True, slots=True)
class Weights:
    """A weights file whose digest is known, and is the one that the settings ask for."""

    path: Path
    sha256: str

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def suffix(self) -> str:
        return self.path.suffix.lower()


def find(model: ModelSettings) -> Weights:
    """The file of `model.weights`, hashed. Raises SettingsError if it is not there, no file or not the one pinned."""
    path = model.weights
    if path is None:
        raise SettingsError("model.weights: required, not set")
    try:
        if not path.exists():
            raise SettingsError(f"model.weights: {path} does not exist")
        if not path.is_file():
            raise SettingsError(f"model.weights: {path} is not a file")
        if path.suffix.lower() not in SUFFIXES:
            raise SettingsError(f"model.weights: {path} ends in {path.suffix!r}, expected {' or '.join(SUFFIXES)}")
        sha256 = digest(path)
    except OSError as error:
        raise SettingsError(f"model.weights: {path} cannot be read: {error.strerror}") from error
    if model.sha256 is not None and sha256 != model.sha256:
        raise SettingsError(f"model.sha256: {path} has the digest {sha256}, the settings ask for {model.sha256}")
    return Weights(path, sha256)


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Facts:
    """What a weights file says of itself; `image_size` is (height, width) of what it was trained or exported at."""

    task: str
    class_names: tuple[str, ...]
    stride: int
    image_size: Shape
    channels: int
    has_baked_nms: bool = False
    precision: str | None = None
    """`int8` of quantised weights; the others do not say."""


def facts_of_texts(texts: Mapping[str, str]) -> Facts:
    """Read the metadata that Ultralytics writes into an ONNX file: Python literals as text, by key.

    Raises KeyError for a missing key, ValueError for a value that is none of its kind.
    """
    names = _literal(texts["names"])
    return Facts(
        task=texts["task"],
        class_names=class_names_of(names),
        stride=int(texts["stride"]),
        image_size=size_of(_literal(texts["imgsz"])),
        channels=int(texts.get("channels", "3")),
        has_baked_nms=bool(_literal(texts.get("args", "{}")).get("nms")),
        precision=texts.get("precision"),
    )


def class_names_of(names: Any) -> tuple[str, ...]:
    """Ultralytics' `{0: "scratch", 1: …}` as a tuple by class id. Raises ValueError if the ids have gaps."""
    by_id = dict(enumerate(names)) if isinstance(names, (list, tuple)) else dict(names)
    if sorted(by_id) != list(range(len(by_id))):
        raise ValueError(f"class ids {sorted(by_id)} are not 0 to {len(by_id) - 1}")
    return tuple(str(by_id[class_id]) for class_id in range(len(by_id)))


def size_of(imgsz: Any) -> Shape:
    """Ultralytics' `imgsz`, one side or [height, width], as (height, width)."""
    if isinstance(imgsz, int):
        return imgsz, imgsz
    height, width = imgsz
    return int(height), int(width)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except SyntaxError as error:
        raise ValueError(f"{text[:80]!r} is no literal") from error


def check_facts(weights: Weights, facts: Facts) -> None:
    """Raises SettingsError for weights that this release cannot run, whatever the engine."""
    if facts.task != "detect":
        raise SettingsError(
            f"model.weights: {weights.path} is made for the task {facts.task!r}, only detect can be run"
        )
    if facts.channels != 3:
        raise SettingsError(f"model.weights: {weights.path} takes {facts.channels} channels, only 3 can be run")
    if facts.has_baked_nms:
        raise SettingsError(
            f"model.weights: {weights.path} was exported with nms=True, which bakes thresholds in that jobs may set; "
            "export it with nms=None, or nms=False for an NMS-free head"
        )


def input_size(model: ModelSettings, weights: Weights, facts: Facts) -> Shape:
    """(height, width) of the square input of weights that run at any shape: `model.image_size` or their own."""
    side = model.image_size or max(facts.image_size)
    if side % facts.stride:
        key = "model.image_size" if model.image_size else f"model.weights: {weights.path} states the image size"
        raise SettingsError(f"{key}: {side} is not a multiple of the stride of {weights.path.name}, {facts.stride}")
    return side, side


def choose_head(asked: bool | Literal["auto"], weights: Weights, *, has_nms_free: bool, has_dense: bool) -> bool:
    """Whether the NMS-free head is run. `auto` takes it wherever there is one."""
    if asked is True and not has_nms_free:
        raise SettingsError(
            f"model.nms_free: true, but {weights.path} has no NMS-free head{_export_hint(weights, 'False')}"
        )
    if asked is False and not has_dense:
        raise SettingsError(
            f"model.nms_free: false, but {weights.path} has only an NMS-free head{_export_hint(weights, 'None')}"
        )
    return has_nms_free if asked == "auto" else asked


def choose_precision(asked: str, weights: Weights, facts: Facts, *, otherwise: str) -> str:
    """What to run in: int8 weights in int8 alone, the others in `otherwise`, which is not int8."""
    if facts.precision == "int8":
        if asked not in {"auto", "int8"}:
            raise SettingsError(f"model.precision: {asked}, but {weights.path} is int8, use int8 or auto")
        return "int8"
    if asked == "int8":
        raise SettingsError(
            f"model.precision: int8, but {weights.path} is not quantised; `consumer model quantize` does that"
        )
    return otherwise


def _export_hint(weights: Weights, nms: str) -> str:
    return f" (the export option nms={nms} chooses it)" if weights.suffix == ".onnx" else ""


def one_line(error: BaseException) -> str:
    """The last line of a library's message that says anything: they put where it happened first, and what last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
