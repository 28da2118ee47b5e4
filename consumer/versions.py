"""Which versions of what matters are installed, and which weights do the settings name?"""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from consumer import __version__
from consumer.detection.weights import find
from consumer.errors import SettingsError
from consumer.kafka.capabilities import librdkafka_version
from consumer.settings import load

# Distributions by what they are called here; only one of several is installed, since they overwrite each other.
LIBRARIES = {
    "confluent-kafka": ("confluent-kafka",),
    "obstore": ("obstore",),
    "opencv": ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
    "openvino": ("openvino",),
    "torch": ("torch",),
    "ultralytics": ("ultralytics-opencv-headless", "ultralytics"),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
}


def versions() -> Iterator[tuple[str, str]]:
    """Names and versions. No engine is imported: that would take seconds."""
    yield "consumer", __version__
    yield "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield "librdkafka", librdkafka_version()
    for name, distributions in LIBRARIES.items():
        yield name, next(filter(None, map(_installed, distributions)), "not installed")
    yield "weights", _weights()


def _installed(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _weights() -> str:
    try:
        model = load(inspects=False).model
        weights = find(model) if model.weights is not None else None
    except SettingsError as error:
        return f"none: {str(error).splitlines()[0]}"
    return f"{weights.path} sha256 {weights.sha256}" if weights else "none: model.weights is not set"
