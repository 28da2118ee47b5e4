"""How full and how busy is the device? Asked of NVML at each scrape, on CUDA only."""

import importlib
import os
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


def open_telemetry(device: str) -> Collector | None:
    """Numbers of a model's device, such as `cuda:0`; None where it is no CUDA device, or NVML is not to be had."""
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return None
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
        return DeviceTelemetry(nvml, _handle(nvml, int(index or 0)))
    except nvml.NVMLError:
        return None


class DeviceTelemetry(Collector):
    """What a device says of itself. What it does not tell (a MIG slice has no utilisation) is absent."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle

    def collect(self) -> Iterator[Metric]:
        try:
            memory = self._nvml.nvmlDeviceGetMemoryInfo(self._handle)
        except self._nvml.NVMLError:
            pass
        else:
            family = GaugeMetricFamily(
                "inspection_device_memory_bytes", "Memory of the device, all its users together.", labels=["kind"]
            )
            family.add_metric(["used"], memory.used)
            family.add_metric(["total"], memory.total)
            yield family
        try:
            busy = self._nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu
        except self._nvml.NVMLError:
            return
        yield GaugeMetricFamily(
            "inspection_device_utilization_ratio", "Share of the time in which the device was busy.", value=busy / 100
        )


def _handle(nvml: Any, index: int) -> Any:
    """NVML counts all devices, CUDA those that CUDA_VISIBLE_DEVICES names, by number or by UUID."""
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    name = visible[index] if index < len(visible) else str(index)
    return nvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdigit() else nvml.nvmlDeviceGetHandleByUUID(name)
