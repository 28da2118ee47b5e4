"""How ONNX weights run on a CPU with OpenVINO: no torch, no onnx package, nothing licensed AGPL at run time."""

import queue
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as ops
from openvino.frontend import FrontEndManager
from openvino.preprocess import ColorFormat, PrePostProcessor

from consumer.cores import available_cores
from consumer.detection.engine import Candidates, Model, Pixels, Shape
from consumer.detection.inputs import (
    Dimensions,
    cannot_run,
    facts_of_export,
    filled,
    is_nms_free,
    size_and_batch,
    warming_shapes,
)
from consumer.detection.weights import Facts, Weights, check_facts, choose_head, choose_precision, one_line
from consumer.errors import SettingsError
from consumer.settings import BatchingSettings, ModelSettings

TYPES = {"f32": ov.Type.f32, "bf16": ov.Type.bf16, "f16": ov.Type.f16}


class OpenVINOEngine:
    """A compiled model and its infer requests, one for each place; as many threads, named `openvino`, wait for them.

    Threads rather than OpenVINO's callbacks, which are not called when an inference fails.
    """

    def __init__(self, compiled: ov.CompiledModel, model: Model, *, max_batch: int) -> None:
        self.model = model
        self.max_batch = max_batch
        self.places = min(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"), available_cores())
        self._requests: queue.SimpleQueue[ov.InferRequest] = queue.SimpleQueue()
        for _ in range(self.places):
            self._requests.put(compiled.create_infer_request())
        self._pool = ThreadPoolExecutor(self.places, thread_name_prefix="openvino")

    def start(self, images: Pixels) -> Future[Candidates]:
        return self._pool.submit(self._answer, images)

    def close(self) -> None:
        self._pool.shutdown()

    def _answer(self, images: Pixels) -> Candidates:
        pixels = filled(images, self.model.static_batch)  # the request reads this memory and does not keep it
        request = self._requests.get()
        try:
            request.set_input_tensor(ov.Tensor(pixels, shared_memory=True))
            request.start_async()
            request.wait()
            return np.array(request.get_output_tensor().data[: len(images)])
        finally:
            self._requests.put(request)


def load(
    weights: Weights, model: ModelSettings, batching: BatchingSettings, *, precision: str, onnx: Path | None = None
) -> OpenVINOEngine:
    """Build and warm the engine; `onnx` is what `weights` were converted to. Raises SettingsError."""
    core = ov.Core()
    graph, facts = _read(weights, onnx or weights.path)
    check_facts(weights, facts)
    precision = choose_precision(model.precision, weights, facts, otherwise=precision)
    outputs = tuple(_dimensions(output.partial_shape) for output in graph.outputs)
    nms_free = is_nms_free(weights, facts, outputs, inputs=len(graph.inputs))
    choose_head(model.nms_free, weights, has_nms_free=nms_free, has_dense=not nms_free)
    shape = _dimensions(graph.input(0).partial_shape) or ()
    image_size, static_batch = size_and_batch(shape, model, weights, facts)
    batch = static_batch or 1  # on a CPU a batch is no faster than its images one by one in parallel
    try:
        graph.reshape([batch, 3, *_sides(model, image_size, facts.stride, static_batch)])
        graph = _with_pixels_in_and_rows_out(graph, nms_free)
        compiled = core.compile_model(graph, "CPU", _properties("f32" if precision == "int8" else precision))
    except RuntimeError as error:
        raise cannot_run(weights, image_size, error) from error
    engine = OpenVINOEngine(
        compiled,
        Model(
            name=weights.name,
            sha256=weights.sha256,
            task=facts.task,
            class_names=facts.class_names,
            stride=facts.stride,
            image_size=image_size,
            static_batch=static_batch,
            nms_free=nms_free,
            engine="openvino",
            precision=_precision_of(compiled, precision),
            device="cpu",
        ),
        max_batch=min(batch, batching.max_batch),
    )
    _warm(engine, model, weights)
    return engine


def _read(weights: Weights, path: Path) -> tuple[ov.Model, Facts]:
    try:
        frontend = FrontEndManager().load_by_framework("onnx")  # Core.read_model tries every format it knows, aloud
        graph = frontend.convert(frontend.load(str(path)))
    except Exception as error:  # openvino.frontend's failures have no nearer class in common
        raise SettingsError(f"model.weights: {weights.path} is no readable ONNX file: {one_line(error)}") from error
    return graph, facts_of_export(weights, lambda: graph.get_rt_info(["framework"]).value)


def _dimensions(shape: ov.PartialShape) -> Dimensions | None:
    if shape.rank.is_dynamic:
        return None
    return tuple(None if side.is_dynamic else side.get_length() for side in shape)


def _sides(model: ModelSettings, image_size: Shape, stride: int, static_batch: int | None) -> list[ov.Dimension]:
    if model.shapes == "square" or static_batch is not None:
        return [ov.Dimension(side) for side in image_size]
    return [ov.Dimension(stride, side) for side in image_size]


def _with_pixels_in_and_rows_out(graph: ov.Model, nms_free: bool) -> ov.Model:
    """uint8 [n, h, w, 3] BGR in, float32 [n, k, 6] out; what lies between stays out of Python."""
    if not nms_free:
        graph = ov.Model([_rows(graph.output(0).get_node().input_value(0))], graph.get_parameters())
    steps = PrePostProcessor(graph)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_color_format(ColorFormat.BGR)
    steps.input().model().set_layout(ov.Layout("NCHW"))
    steps.input().preprocess().convert_element_type(ov.Type.f32).convert_color(ColorFormat.RGB).scale(255.0)
    return steps.build()


def _rows(predictions: ov.Output) -> ov.Node:
    """Dense [n, 4 + classes, k], boxes as centre and size → [n, k, 6], corners, best confidence and its class."""
    along = ops.constant(1)
    classes = predictions.get_partial_shape()[1].get_length() - 4
    centre, size, scores = ops.variadic_split(predictions, along, ops.constant([2, 2, classes])).outputs()
    half = ops.multiply(size, ops.constant(np.float32(0.5)))
    best = ops.topk(scores, ops.constant(1), 1, "max", "none", index_element_type="i32")
    class_id = ops.convert(best.output(1), "f32")
    rows = ops.concat([ops.subtract(centre, half), ops.add(centre, half), best.output(0), class_id], 1)
    return ops.transpose(rows, ops.constant([0, 2, 1]))


def _properties(precision: str) -> dict[str, Any]:
    return {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": available_cores(),
    }


def _precision_of(compiled: ov.CompiledModel, asked: str) -> str:
    """Read back: OpenVINO takes another precision, without a word, where the CPU has not the one it was told."""
    if asked == "int8":
        return _int8_of(compiled)
    actual = compiled.get_property("INFERENCE_PRECISION_HINT")
    had = next((name for name, kind in TYPES.items() if kind == actual), str(actual))
    if had != asked:
        raise SettingsError(f"model.precision: {asked} was asked for, but openvino runs {had} on this CPU")
    return had


def _int8_of(compiled: ov.CompiledModel) -> str:
    """Weights may say int8 and run in floats: what counts is how the plugin runs their convolutions."""
    kinds = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    runs = [kind["runtimePrecision"].value for kind in kinds if kind["layerType"].value == "Convolution"]
    in_int8 = sum(run in {"i8", "u8"} for run in runs)
    if 2 * in_int8 <= len(runs):
        raise SettingsError(
            f"model.precision: int8 was asked for, but openvino runs {in_int8} of {len(runs)} convolutions in it"
        )
    return "int8"


def _warm(engine: OpenVINOEngine, model: ModelSettings, weights: Weights) -> None:
    for shape in warming_shapes(engine.model, engine.places, is_rectangular=model.shapes == "rectangular"):
        try:
            engine.start(np.zeros((1, *shape, 3), np.uint8)).result()
        except RuntimeError as error:
            engine.close()
            raise cannot_run(weights, shape, error) from error
