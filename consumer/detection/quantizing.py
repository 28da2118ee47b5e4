"""How do f32 ONNX weights become int8 ones, and which of their layers must not?

NNCF's post-training quantisation: pairs of QuantizeLinear and DequantizeLinear stand around what is to run in int8, so
OpenVINO and ONNX Runtime run the same file. What turns the last convolutions' output into boxes stays in float: the
coordinates of a whole image do not fit into 256 steps.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from consumer.detection.engine import Pixels
from consumer.detection.weights import Weights, one_line
from consumer.errors import SettingsError

if TYPE_CHECKING:
    import onnx

Preset = Literal["mixed", "performance"]


def quantize(
    weights: Weights, images: Iterable[Pixels], made: Path, *, preset: Preset, count: int, image_size: int
) -> None:
    """Write int8 weights to `made`, their ranges taken from `count` images.

    images: uint8 [height, width, 3], BGR, letterboxed, gone through several times; `image_size` is their longer side.
    The metadata stays and says `precision: int8`, and from what the file was made. `preset`: `performance` has ranges
    around zero alone, `mixed` wherever the activations lie. Raises SettingsError, ImportError if NNCF is not installed.
    """
    import nncf
    import onnx

    nncf.set_log_level(logging.ERROR)
    try:
        model = onnx.load(weights.path)
        (name,) = (one.name for one in model.graph.input)
        with contextlib.redirect_stdout(io.StringIO()):  # its progress bars
            quantized: onnx.ModelProto = nncf.quantize(
                model,
                nncf.Dataset(images, lambda slot: {name: _tensor(slot)}),
                preset=nncf.QuantizationPreset(preset),
                target_device=nncf.TargetDevice.CPU,
                subset_size=count,
                ignored_scope=nncf.IgnoredScope(names=sorted(after_the_last_convolutions(model.graph)), validate=False),
            )
    except Exception as error:  # what NNCF's and onnx's many steps raise
        raise SettingsError(f"model.weights: {weights.path} cannot be quantised: {one_line(error)}") from error
    make_unsigned(quantized.graph)
    made_of = {
        "precision": "int8",
        "quantized_from": weights.sha256,
        "quantized_by": f"NNCF {nncf.__version__}, {count} images at {image_size}, {preset}",
    }
    for key, value in made_of.items():
        quantized.metadata_props.add(key=key, value=value)
    onnx.save(quantized, made)


def make_unsigned(graph: onnx.GraphProto) -> None:
    """Move int8 activations and their zero points up by 128, to uint8: the same numbers.

    OpenVINO 2026.4 answers wrongly where signed and unsigned activations meet in a Concat (YOLO11 found nothing right).
    """
    from onnx import numpy_helper

    constants = {constant.name: constant for constant in graph.initializer}
    quantized = {output for node in graph.node if node.op_type == "QuantizeLinear" for output in node.output}
    points = {
        node.input[2]
        for node in graph.node
        if node.op_type == "QuantizeLinear" or (node.op_type == "DequantizeLinear" and node.input[0] in quantized)
    }
    for name in points:
        values = numpy_helper.to_array(constants[name])
        if values.dtype == np.int8:
            moved = (values.astype(np.int16) + 128).astype(np.uint8)
            constants[name].CopyFrom(numpy_helper.from_array(moved, name))
    del graph.value_info[:]  # they name the types of before


def after_the_last_convolutions(graph: onnx.GraphProto) -> set[str]:
    """The names of the nodes between the last convolutions with trained weights and the output.

    A convolution behind a softmax has no trained weights: it sums up the bins of a dense head's distances.
    """
    maker = {output: node for node in graph.node for output in node.output}
    found: set[str] = set()
    waiting = [output.name for output in graph.output]
    while waiting:
        node = maker.get(waiting.pop())
        if node is None or node.name in found or _is_trained(node, maker):
            continue
        found.add(node.name)
        if node.op_type != "Shape":  # of the features, for the anchors: what made them is no part of this
            waiting.extend(node.input)
    return found


def _is_trained(node: onnx.NodeProto, maker: dict[str, onnx.NodeProto]) -> bool:
    before = maker.get(node.input[0]) if node.input else None
    return node.op_type == "Conv" and (before is None or before.op_type != "Softmax")


def _tensor(slot: Pixels) -> np.ndarray[Any, np.dtype[np.float32]]:
    """What the engines make of a slot: float32 [1, 3, height, width], RGB, 0 to 1."""
    pixels = slot[np.newaxis, :, :, ::-1].transpose(0, 3, 1, 2)
    return np.ascontiguousarray(pixels, np.float32) / np.float32(255)
