"""How ONNX weights run in ONNX Runtime: one code path for its providers of the CPU, CUDA and TensorRT."""

import contextlib
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from consumer.cores import available_cores
from consumer.detection import providers
from consumer.detection.conversion import cache_folder
from consumer.detection.devices import is_lost
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
from consumer.detection.onnx_graph import (
    PIXELS,
    closed,
    dimensions,
    in_f16,
    inputs_of,
    with_pixels_in_and_rows_out,
)
from consumer.detection.providers import Profile
from consumer.detection.weights import Facts, Weights, check_facts, choose_head, choose_precision, one_line
from consumer.errors import EngineBroken, OutOfDeviceMemory, SettingsError
from consumer.settings import BatchingSettings, ModelSettings

_ERRORS, _NOTHING = 3, 4  # severities of its log lines on standard error


class OnnxRuntimeEngine:
    """A session, which any number of threads may run at once; as many as there are places, named `onnxruntime`, do."""

    def __init__(self, session: onnxruntime.InferenceSession, model: Model, *, places: int, max_batch: int) -> None:
        self.model = model
        self.places = places
        self.max_batch = max_batch
        self._session = session
        self._pool = ThreadPoolExecutor(places, thread_name_prefix="onnxruntime")

    def start(self, images: Pixels) -> Future[Candidates]:
        return self._pool.submit(self._answer, images)

    def close(self) -> None:
        self._pool.shutdown()

    def _answer(self, images: Pixels) -> Candidates:
        try:
            (rows,) = self._session.run(None, {PIXELS: filled(images, self.model.static_batch)})
        except Exception as error:  # its failures have no nearer class in common
            if providers.is_out_of_memory(error):
                raise OutOfDeviceMemory(f"{len(images)} images do not fit on {self.model.device}: {error}") from error
            if is_lost(error):
                raise EngineBroken(f"{self.model.device} is lost to this process: {one_line(error)}") from error
            raise
        return np.array(rows[: len(images)])


def load(
    weights: Weights,
    model: ModelSettings,
    batching: BatchingSettings,
    *,
    device: str,
    provider: str,
    precision: str,
    onnx: Path | None = None,
) -> OnnxRuntimeEngine:
    """Build and warm the engine; `onnx` is what `weights` were converted to. Raises SettingsError."""
    providers.check_distributions()
    providers.check_available(provider, onnxruntime.get_available_providers())
    _be_quiet()
    graph = _read(weights, onnx or weights.path)
    facts = facts_of_export(weights, lambda: {entry.key: entry.value for entry in graph.metadata_props})
    check_facts(weights, facts)
    precision = choose_precision(model.precision, weights, facts, otherwise=precision)
    providers.check_precision(provider, precision)
    image_size, static_batch = size_and_batch(_input(graph, weights), model, weights, facts)
    nms_free = _is_nms_free(graph, weights, facts, image_size, static_batch)
    choose_head(model.nms_free, weights, has_nms_free=nms_free, has_dense=not nms_free)
    is_on_cpu = provider == "cpu"
    # On a CPU a batch is no faster than its images one by one in parallel.
    max_batch = min(static_batch or (1 if is_on_cpu else batching.max_batch), batching.max_batch)
    said = Model(
        name=weights.name,
        sha256=weights.sha256,
        task=facts.task,
        class_names=facts.class_names,
        stride=facts.stride,
        image_size=image_size,
        static_batch=static_batch,
        nms_free=nms_free,
        engine="onnxruntime-tensorrt" if provider == "tensorrt" else "onnxruntime",
        precision=precision,
        device=device,
    )
    is_square = model.shapes == "square" or static_batch is not None
    batch = static_batch or (1 if is_on_cpu else None)
    made = closed(graph, batch, *(image_size if is_square else (None, None)))
    made = with_pixels_in_and_rows_out(in_f16(made) if precision == "f16" else made, nms_free=nms_free)
    profile = Profile.of(
        image_size, facts.stride, batch=max_batch, is_static=static_batch is not None, is_square=is_square
    )
    session = _session(made, said, provider, profile)
    # Two on a device: the next batch is on its way while it computes the one before.
    engine = OnnxRuntimeEngine(session, said, places=available_cores() if is_on_cpu else 2, max_batch=max_batch)
    _warm(engine, weights, batch=max_batch, is_rectangular=model.shapes == "rectangular")
    return engine


def _be_quiet() -> None:
    """Its errors are raised, so its log repeats them; but why a provider's library does not load stands there alone."""
    onnxruntime.disable_telemetry_events()  # Windows has its own
    onnxruntime.set_default_logger_severity(_ERRORS)


def _read(weights: Weights, path: Path) -> onnx.ModelProto:
    try:
        graph = onnx.load(path)
    except Exception as error:  # protobuf's and onnx's failures have no nearer class in common
        raise SettingsError(f"model.weights: {weights.path} is no readable ONNX file: {one_line(error)}") from error
    if not graph.graph.node:  # nothing at all is a valid message, too
        raise SettingsError(f"model.weights: {weights.path} is no readable ONNX file: there is no graph in it")
    return graph


def _input(graph: onnx.ModelProto, weights: Weights) -> Dimensions:
    inputs = inputs_of(graph)
    shape = dimensions(inputs[0]) if len(inputs) == 1 else ()
    if len(shape) != 4 or inputs[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        raise SettingsError(
            f"model.weights: {weights.path} takes other inputs than float32 [n, 3, height, width]; export it without "
            "half=True and set model.precision instead"
        )
    return shape


def _is_nms_free(
    graph: onnx.ModelProto, weights: Weights, facts: Facts, image_size: Shape, static_batch: int | None
) -> bool:
    """By one plain image through the file as it is, on the CPU: files do not say the shape of their output."""
    with _naming(weights, image_size):
        probe = closed(graph, static_batch or 1, *image_size)
        session = onnxruntime.InferenceSession(
            probe.SerializeToString(), _options(), providers=["CPUExecutionProvider"]
        )
        image = np.zeros((static_batch or 1, 3, *image_size), np.float32)
        answers = session.run(None, {session.get_inputs()[0].name: image})
    return is_nms_free(weights, facts, tuple(np.shape(answer) for answer in answers), inputs=1)


def _session(graph: onnx.ModelProto, model: Model, provider: str, profile: Profile) -> onnxruntime.InferenceSession:
    tensorrt: providers.Options = {}
    index = int(model.device.partition(":")[2] or 0)
    if provider != "cpu":
        with contextlib.redirect_stdout(sys.stderr):  # it prints what it does not find
            onnxruntime.preload_dlls()
        name, driver = providers.cuda_device(index)
        facts = {
            "weights": model.sha256,
            "graph": graph.ByteSize(),
            "device": name,
            "driver": driver,
            "onnxruntime": onnxruntime.__version__,
            "tensorrt": providers.tensorrt_version(),
            "precision": model.precision,
            "shapes": (profile.least, profile.most),
        }
        if provider == "tensorrt":
            folder = cache_folder() / providers.cache_key(facts)
            folder.mkdir(mode=0o700, exist_ok=True)
            tensorrt = providers.tensorrt_options(model.precision, profile, PIXELS, folder)
    try:
        session = onnxruntime.InferenceSession(
            graph.SerializeToString(),
            _options(),
            providers=providers.providers(provider, index, tensorrt),
            enable_fallback=0,
        )
    except Exception as error:
        raise SettingsError(f"model.provider: {provider} cannot run {model.name}: {one_line(error)}") from error
    providers.check_placement(provider, session.get_providers(), _assigned(session))
    return session


def _options() -> onnxruntime.SessionOptions:
    """One thread a run, its caller's; places make the parallelism.

    Measured on two Zen 4 cores, YOLO26n at 640x640 in f32: two runs of one thread each take 67 ms of CPU an image, one
    run of two threads 77.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _NOTHING
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options


def _assigned(session: onnxruntime.InferenceSession) -> Iterator[tuple[str, str]]:
    for part in session.get_provider_graph_assignment_info():
        for node in part.get_nodes():
            yield part.ep_name, node.op_type


def _warm(engine: OnnxRuntimeEngine, weights: Weights, *, batch: int, is_rectangular: bool) -> None:
    for shape in warming_shapes(engine.model, engine.places, is_rectangular=is_rectangular):
        try:
            with _naming(weights, shape):
                engine.start(np.zeros((batch, *shape, 3), np.uint8)).result()
        except SettingsError:
            engine.close()
            raise


@contextlib.contextmanager
def _naming(weights: Weights, shape: Shape) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # what a library raises for a graph that it cannot run
        raise cannot_run(weights, shape, error) from error
