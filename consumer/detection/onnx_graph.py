"""How does the graph of an Ultralytics ONNX file take pixels as they are, and give rows?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from consumer.detection.inputs import Dimensions

PIXELS, ROWS = "consumer.pixels", "consumer.rows"


def dimensions(value: onnx.ValueInfoProto) -> Dimensions:
    sides = value.type.tensor_type.shape.dim
    return tuple(side.dim_value if side.HasField("dim_value") else None for side in sides)


def inputs_of(graph: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """What must be given to it: older files list their constants as inputs, too."""
    constants = {constant.name for constant in graph.graph.initializer}
    return [value for value in graph.graph.input if value.name not in constants]


def closed(graph: onnx.ModelProto, batch: int | None, height: int | None, width: int | None) -> onnx.ModelProto:
    """A copy whose open dimensions are those that are given: shapes that are known cost nothing at run time."""
    made = onnx.ModelProto()
    made.CopyFrom(graph)
    del made.graph.value_info[:]  # what was inferred for other dimensions
    sides = inputs_of(made)[0].type.tensor_type.shape.dim
    for index, side in ((0, batch), (2, height), (3, width)):
        if side is not None:
            sides[index].dim_value = side
    for output in made.graph.output:
        output.type.tensor_type.ClearField("shape")
    return made


def with_pixels_in_and_rows_out(graph: onnx.ModelProto, *, nms_free: bool) -> onnx.ModelProto:
    """A copy with uint8 [n, h, w, 3] BGR in and float32 [n, k, 6] out, of one with float32 [n, 3, h, w] RGB in.

    The cast comes first: TensorRT takes uint8 at its inputs alone. On a CPU that costs 0.2 ms of an image of 640x640.
    """
    made = onnx.ModelProto()
    made.CopyFrom(graph)
    images, predictions = inputs_of(made)[0], made.graph.output[0].name
    batch, _, height, width = images.type.tensor_type.shape.dim
    pixels = helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, [None, None, None, 3])
    for index, side in ((0, batch), (1, height), (2, width)):
        pixels.type.tensor_type.shape.dim[index].CopyFrom(side)
    before, after = _images(images.name), [] if nms_free else _rows(predictions)
    nodes = [*before, *made.graph.node, *after]
    rows = helper.make_tensor_value_info(predictions if nms_free else ROWS, TensorProto.FLOAT, [None, None, 6])
    for values, kept in ((made.graph.node, nodes), (made.graph.input, [pixels]), (made.graph.output, [rows])):
        del values[:]
        values.extend(kept)
    made.graph.initializer.extend(_constants())
    return made


def in_f16(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that computes in float16 up to its last convolutions; what follows decodes boxes, and stays in float32.

    Near pixel 640 float16 has steps of half a pixel.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    made = onnx.ModelProto()
    made.CopyFrom(graph)
    for index, node in enumerate(made.graph.node):
        node.name = node.name or f"consumer.{index}"
    kept = _not_before_a_convolution(made.graph.node)
    halved: onnx.ModelProto = convert_float_to_float16(made, keep_io_types=True, node_block_list=kept)
    return halved


def _not_before_a_convolution(nodes: Sequence[onnx.NodeProto]) -> list[str]:
    """Names of the nodes whose answers no convolution reads, however far off. Nodes come in the order they run in."""
    wanted: set[str] = set()
    kept = []
    for node in reversed(nodes):
        if node.op_type == "Conv" or wanted & set(node.output):
            wanted |= set(node.input)
        else:
            kept.append(node.name)
    return kept


def _constants() -> list[TensorProto]:
    constants = {
        "rgb": np.array([2, 1, 0], np.int64),
        "most": np.float32(255),
        "half": np.float32(0.5),
        "along": np.array([1], np.int64),
        "0": np.array([0], np.int64),
        "1": np.array([1], np.int64),
        "2": np.array([2], np.int64),
        "4": np.array([4], np.int64),
        "end": np.array([2**31], np.int64),
    }
    return [numpy_helper.from_array(np.asarray(value), f"consumer.{name}") for name, value in constants.items()]


def _images(images: str) -> list[onnx.NodeProto]:
    return [
        _node("Cast", [PIXELS], "consumer.floats", to=TensorProto.FLOAT),
        _node("Transpose", ["consumer.floats"], "consumer.planes", perm=[0, 3, 1, 2]),
        _node("Gather", ["consumer.planes", "consumer.rgb"], "consumer.turned", axis=1),
        _node("Div", ["consumer.turned", "consumer.most"], images),
    ]


def _rows(predictions: str) -> list[onnx.NodeProto]:
    """Dense [n, 4 + classes, k], boxes as centre and size → [n, k, 6], corners, best confidence and its class."""
    parts = (("centre", "0", "2"), ("size", "2", "4"), ("scores", "4", "end"))
    slices = [
        _node("Slice", [predictions, f"consumer.{first}", f"consumer.{end}", "consumer.along"], f"consumer.{part}")
        for part, first, end in parts
    ]
    best = helper.make_node(
        "TopK", ["consumer.scores", "consumer.1"], ["consumer.confidence", "consumer.best"], "consumer.topk", axis=1
    )
    corners = ["consumer.least", "consumer.largest", "consumer.confidence", "consumer.class"]
    return [
        *slices,
        _node("Mul", ["consumer.size", "consumer.half"], "consumer.reach"),
        _node("Sub", ["consumer.centre", "consumer.reach"], "consumer.least"),
        _node("Add", ["consumer.centre", "consumer.reach"], "consumer.largest"),
        best,
        _node("Cast", ["consumer.best"], "consumer.class", to=TensorProto.FLOAT),
        _node("Concat", corners, "consumer.columns", axis=1),
        _node("Transpose", ["consumer.columns"], ROWS, perm=[0, 2, 1]),
    ]


def _node(kind: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [output], output, **attributes)
