"""The only door to the ultralytics package: what must hold before its first import, and how its `.pt` files are read.

It installs packages, calls home, unpickles whatever a file says, writes to the home folder and prints by default.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Any

from consumer.cores import available_cores
from consumer.detection.weights import Facts, Weights, class_names_of, one_line, size_of
from consumer.errors import SettingsError

if TYPE_CHECKING:
    from torch import nn

_SAFETY = {
    "YOLO_AUTOINSTALL": "false",
    "YOLO_OFFLINE": "true",
    "ULTRALYTICS_SAFE_LOAD": "1",
    "YOLO_VERBOSE": "false",
}


def prepare() -> None:
    """Import ultralytics with its safety settings, its log going where ours goes (warnings and worse).

    Raises RuntimeError if somebody has imported it before without them: it reads them once.
    """
    os.environ.update(_SAFETY)
    if "YOLO_CONFIG_DIR" not in os.environ:
        folder = os.environ["YOLO_CONFIG_DIR"] = tempfile.mkdtemp(prefix="ultralytics-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ.setdefault("OMP_NUM_THREADS", str(available_cores()))  # else it sets 1, for training's sake
    from ultralytics import utils

    if utils.AUTOINSTALL or utils.ONLINE or not utils.SAFE_LOAD:
        raise RuntimeError("ultralytics was imported before consumer.detection.yolo.prepare() made it safe")
    utils.LOGGER.handlers.clear()
    utils.LOGGER.propagate = True
    utils.LOGGER.setLevel(logging.WARNING)


def read(weights: Weights) -> nn.Module:
    """The network of a `.pt` file in float32 on the CPU, in evaluation mode, not fused.

    Nothing that a pickle names is run but the classes of torch and ultralytics. Raises SettingsError.
    """
    prepare()
    from ultralytics.nn.tasks import load_checkpoint

    try:
        network: nn.Module = load_checkpoint(str(weights.path.absolute()))[0]  # type: ignore[no-untyped-call]
    except Exception as error:  # whatever a damaged or hostile file makes of the loader
        raise SettingsError(f"model.weights: {weights.path} cannot be loaded: {one_line(error)}") from error
    return network


def facts_of(network: Any, weights: Weights) -> Facts:
    """What a network says of itself. Raises SettingsError if it is none of Ultralytics' own."""
    try:
        return Facts(
            task=network.task,
            class_names=class_names_of(network.names),
            stride=max(int(network.stride.max()), 32),  # as Ultralytics' predict pads
            image_size=size_of(network.args["imgsz"]),
            channels=network.yaml.get("channels", 3),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"model.weights: {weights.path} is no Ultralytics model: {one_line(error)}") from error


def heads_of(network: Any) -> tuple[bool, bool]:
    """Whether a detection network has an NMS-free head, and whether it has a dense one; most have one of them."""
    head = network.model[-1]
    return getattr(head, "one2one_cv2", None) is not None, head.cv2 is not None


def origin_of(weights: Weights) -> tuple[str, str]:
    """Which version of Ultralytics wrote a `.pt` file, and under which licence, as far as it says so."""
    prepare()
    from ultralytics.nn.tasks import torch_safe_load

    checkpoint: dict[str, Any] = torch_safe_load(str(weights.path.absolute()))[0]  # type: ignore[no-untyped-call]
    version = checkpoint.get("version")
    return f"Ultralytics {version}" if version else "", str(checkpoint.get("license", ""))
