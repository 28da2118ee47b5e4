"""What do the shapes of an ONNX file say: which head it has, and at which sizes and batches it runs?

A shape is a tuple of dimensions; one that is open is None, and so is a shape of unknown rank.
"""

from collections.abc import Callable, Mapping

import numpy as np

from consumer.detection.engine import Model, Pixels, Shape
from consumer.detection.weights import Facts, Weights, facts_of_texts, input_size, one_line
from consumer.errors import SettingsError
from consumer.settings import ModelSettings

Dimensions = tuple[int | None, ...]


def facts_of_export(weights: Weights, texts: Callable[[], Mapping[str, str]]) -> Facts:
    """What the metadata says; `texts` is called here, since reading it may fail as the text itself may."""
    try:
        return facts_of_texts(texts())
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise SettingsError(
            f"model.weights: {weights.path} lacks the metadata of an Ultralytics export (names, stride, task, imgsz): "
            f"{one_line(error)}"
        ) from error


def is_nms_free(weights: Weights, facts: Facts, outputs: tuple[Dimensions | None, ...], *, inputs: int) -> bool:
    """Dense heads put out [n, 4 + classes, anchors], NMS-free ones [n, k, 6]. Raises SettingsError for any other."""
    dense_rows = 4 + len(facts.class_names)
    shape = outputs[0] if outputs else None
    if len(outputs) == 1 and inputs == 1 and shape is not None and len(shape) == 3:
        if shape[1] == dense_rows and shape[2] != 6:
            return False
        if shape[2] == 6:
            return True
    raise SettingsError(
        f"model.weights: {weights.path} puts out {_text(shape)}, expected [n, {dense_rows}, anchors] or [n, k, 6] "
        f"with the {len(facts.class_names)} classes that it names"
    )


def size_and_batch(shape: Dimensions, model: ModelSettings, weights: Weights, facts: Facts) -> tuple[Shape, int | None]:
    """(height, width) and, of a static file, its one batch size. `shape` is the input's: [n, 3, height, width]."""
    batch, _, height, width = shape
    if height is None or width is None:
        return input_size(model, weights, facts), None
    hint = "export it with dynamic=True"
    if model.shapes == "rectangular":
        raise SettingsError(f"model.shapes: rectangular, but {weights.path} is static at {height}x{width}; {hint}")
    if model.image_size is not None and (model.image_size, model.image_size) != (height, width):
        raise SettingsError(
            f"model.image_size: {model.image_size}, but {weights.path} is static at {height}x{width}; {hint}"
        )
    return (height, width), 1 if batch is None else batch


def filled(images: Pixels, static_batch: int | None) -> Pixels:
    """Static weights take batches of one size alone: missing images are black, and their answers to be dropped.

    images: uint8 [n, height, width, 3]; returns the same, or uint8 [static_batch, height, width, 3].
    """
    missing = (static_batch or len(images)) - len(images)
    if not missing:
        return images
    return np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.uint8)])


def warming_shapes(model: Model, places: int, *, is_rectangular: bool) -> list[Shape]:
    """Every place runs once at the largest shape; the narrowest ones show whether the weights bear them."""
    (height, width), stride = model.image_size, model.stride
    narrowest = [(stride, width), (height, stride)] if is_rectangular else []
    return [(height, width)] * places + narrowest


def cannot_run(weights: Weights, shape: Shape, error: BaseException) -> SettingsError:
    return SettingsError(f"model.weights: {weights.path} cannot run {shape[0]}x{shape[1]}: {one_line(error)}")


def _text(shape: Dimensions | None) -> str:
    if shape is None:
        return "tensors of any rank"
    return "[" + ", ".join("?" if side is None else str(side) for side in shape) + "]"
