"""Device numbers, with a stand-in of NVML: this needs no GPU, and proves nothing about one."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from consumer.detection.telemetry import open_telemetry


class Nvml(ModuleType):
    """Two devices; what is in `silent` is refused."""

    class NVMLError(Exception):
        pass

    def __init__(self, *silent: str) -> None:
        super().__init__("pynvml")
        self._silent = silent

    def _ask(self, what: str) -> None:
        if what in self._silent:
            raise self.NVMLError(what)

    def nvmlInit(self) -> None:  # noqa: N802
        self._ask("init")

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:  # noqa: N802
        return {"GPU-first": 0, "GPU-second": 1}[uuid]

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:  # noqa: N802
        self._ask("memory")
        return SimpleNamespace(used=10 + handle, total=100)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:  # noqa: N802
        self._ask("utilization")
        return SimpleNamespace(gpu=25)


def page(monkeypatch: pytest.MonkeyPatch, device: str, *silent: str, visible: str = "") -> str:
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(*silent))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    registry = CollectorRegistry()
    if telemetry := open_telemetry(device):
        registry.register(telemetry)
    return generate_latest(registry).decode()


def test_a_cuda_device_tells_memory_and_utilization(monkeypatch: pytest.MonkeyPatch) -> None:
    text = page(monkeypatch, "cuda:1")
    assert 'inspection_device_memory_bytes{kind="used"} 11.0' in text
    assert 'inspection_device_memory_bytes{kind="total"} 100.0' in text
    assert "inspection_device_utilization_ratio 0.25" in text


@pytest.mark.parametrize(("visible", "used"), [("1", 11), ("1,0", 11), ("GPU-second", 11), ("GPU-first", 10), ("", 10)])
def test_the_first_device_is_the_first_visible_one(monkeypatch: pytest.MonkeyPatch, visible: str, used: int) -> None:
    assert f'kind="used"}} {used}.0' in page(monkeypatch, "cuda", visible=visible)


def test_what_a_device_does_not_tell_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "utilization" not in page(monkeypatch, "cuda:0", "utilization")
    assert "memory" not in page(monkeypatch, "cuda:0", "memory")


def test_a_cpu_has_no_device_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert page(monkeypatch, "cpu") == ""


def test_without_a_driver_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert page(monkeypatch, "cuda:0", "init") == ""


def test_without_the_library_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert open_telemetry("cuda:0") is None
