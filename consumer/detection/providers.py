"""What is ONNX Runtime told about each of its providers, and did it do as it was told?"""

import ctypes
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from consumer.detection.engine import Shape
from consumer.errors import SettingsError

NAMES = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
OFFERED = {"cpu": ("f32", "int8"), "cuda": ("f32", "f16"), "tensorrt": ("f32", "f16", "int8")}
DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")
# ONNX Runtime leaves to the CPU what computes shapes, on purpose, and `session.disable_cpu_ep_fallback` refuses that
# with the rest. Nothing of these is done to pixels or features alone, so anything else there is a fallback.
SHAPE_ARITHMETIC = frozenset(
    {"Shape", "Size", "Gather", "Unsqueeze", "Squeeze", "Concat", "Slice", "Split", "Cast", "Add", "Sub", "Mul", "Div"}
    | {"Floor", "Mod", "Equal", "Where", "Range", "ConstantOfShape", "Expand", "Reshape", "Constant", "Identity"}
)

Options = dict[str, str]


@dataclass(frozen=True, slots=True)
class Profile:
    """The sizes that TensorRT builds its kernels for; another one at run time would make it build for minutes."""

    least: tuple[int, int, int]  # batch, height, width
    most: tuple[int, int, int]

    @classmethod
    def of(cls, size: Shape, stride: int, *, batch: int, is_static: bool, is_square: bool) -> "Profile":
        most = (batch, *size)
        if is_static:
            return cls(most, most)
        return cls((1, *size) if is_square else (1, stride, stride), most)

    def options(self, pixels: str) -> Options:
        """The most is what it is tuned for: batches are full when there is much to do."""
        least, most = (f"{pixels}:{'x'.join(map(str, sizes))}x3" for sizes in (self.least, self.most))
        return {
            "trt_profile_min_shapes": least,
            "trt_profile_opt_shapes": most,
            "trt_profile_max_shapes": most,
        }


def check_distributions() -> None:
    """Raises SettingsError if both are installed: they overwrite each other's files, and which one won is chance."""
    there = [f"{name} {found}" for name in DISTRIBUTIONS if (found := _installed(name))]
    if len(there) > 1:
        raise SettingsError(
            f"model.engine: onnxruntime, but {' and '.join(there)} are both installed and overwrite each other's "
            "files: uninstall both, then install one"
        )


def _installed(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def check_available(provider: str, available: Iterable[str]) -> None:
    """Raises SettingsError if this build of ONNX Runtime has not the provider."""
    there = [name for name, provided in NAMES.items() if provided in available]
    if provider not in there:
        raise SettingsError(
            f"model.provider: {provider} is not in this onnxruntime, which has {', '.join(there)}; "
            "cuda and tensorrt come with '.[onnx-gpu]', which takes the place of '.[onnx]'"
        )


def check_precision(provider: str, precision: str) -> None:
    offered = OFFERED[provider]
    if precision not in offered:
        raise SettingsError(
            f"model.precision: {precision} is not offered by onnxruntime's provider {provider}, only "
            f"{', '.join(offered)}"
        )


def check_placement(provider: str, got: list[str], assigned: Iterable[tuple[str, str]]) -> None:
    """Raises SettingsError if anything but the arithmetic on shapes is done elsewhere than was asked.

    `got` are the session's providers, `assigned` a provider and an operator for each node. What TensorRT does not
    take CUDA may do, on the same device.
    """
    asked = NAMES[provider]
    if not got or got[0] != asked:
        raise SettingsError(
            f"model.provider: {provider} was asked for, but onnxruntime could not start it and would run in "
            f"{', '.join(got) or 'none'}; its libraries and the driver are what is usually missing"
        )
    placed = list(assigned)
    on_cpu = {kind for where, kind in placed if where == NAMES["cpu"]} - SHAPE_ARITHMETIC
    if provider != "cpu" and on_cpu:
        raise SettingsError(
            f"model.provider: {provider} would leave {', '.join(sorted(on_cpu))} of these weights to the CPU"
        )
    if not any(where == asked for where, _ in placed):
        raise SettingsError(f"model.provider: {provider} takes no node of these weights")


def providers(provider: str, device: int, tensorrt: Options) -> list[tuple[str, Options]]:
    """What a session is given. The CPU is never named beside another: ONNX Runtime adds it by itself."""
    if provider == "cpu":
        return [(NAMES["cpu"], {})]
    # Padding convolutions to what tensor cores like is theirs by default; f32 is meant as it is said.
    cuda = (NAMES["cuda"], {"device_id": str(device), "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"})
    if provider == "cuda":
        return [cuda]
    return [(NAMES["tensorrt"], {"device_id": str(device), **tensorrt}), cuda]


def tensorrt_options(precision: str, profile: Profile, pixels: str, folder: Path) -> Options:
    """`folder` is of these weights, device, versions, precision and shapes alone. int8 has its scales in the file."""
    return {
        "trt_fp16_enable": str(int(precision == "f16")),
        "trt_int8_enable": str(int(precision == "int8")),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
        **profile.options(pixels),
    }


def cache_key(facts: Mapping[str, Any]) -> str:
    """The name of a folder: another fact, another folder, so that an engine that does not match is never found."""
    text = json.dumps(facts, sort_keys=True)
    return f"tensorrt-{hashlib.sha256(text.encode()).hexdigest()}"


def cuda_device(index: int, library: str = "libcuda.so.1") -> tuple[str, int]:
    """Name and driver version of a device, from the driver itself. Raises SettingsError if there is none such."""
    count, driver, device = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(256)
    try:
        cuda = ctypes.CDLL(library)
    except OSError as error:
        raise SettingsError(f"model.device: cuda, but there is no driver: {error}") from error
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)) or index >= count.value:
        raise SettingsError(f"model.device: cuda:{index} is not there, the driver sees {count.value} CUDA devices")
    cuda.cuDriverGetVersion(ctypes.byref(driver))
    cuda.cuDeviceGet(ctypes.byref(device), index)
    cuda.cuDeviceGetName(name, len(name), device)
    return name.value.decode(), driver.value


# What ONNX Runtime says where memory has run out: its arena, CUDA itself, cuDNN, cuBLAS, TensorRT.
_NO_MEMORY = re.compile(
    r"Failed to allocate memory|smaller than requested bytes|out of memory|CU[A-Z]+_STATUS_ALLOC_FAILED|bad_alloc"
)


def is_out_of_memory(error: BaseException) -> bool:
    return _NO_MEMORY.search(str(error)) is not None


def tensorrt_version(libraries: Iterable[str] = ("libnvinfer.so.11", "libnvinfer.so.10")) -> str:
    """As its library says, else nothing: TensorRT itself refuses engines of another version."""
    for library in libraries:
        try:
            return str(ctypes.CDLL(library).getInferLibVersion())
        except OSError:
            continue
    return ""
