"""Where is the ONNX file that `.pt` weights were converted to, once for all processes of this user?"""

import os
import stat
import tempfile
import warnings
from pathlib import Path

from consumer.detection.weights import Weights, check_facts, choose_head, digest, input_size, one_line
from consumer.errors import SettingsError
from consumer.settings import ModelSettings

# Anything in how the files are made that an older file would be wrong without.
FORMAT = 1


def converted(weights: Weights, model: ModelSettings) -> Path:
    """The dynamic f32 ONNX file of these weights and settings, from the cache or newly made.

    A file's name ends in its own digest: a torn or damaged one is made again. Two processes at once both make the
    file, and one replaces the other's with the same. Raises SettingsError if it cannot be made, ImportError if what
    makes it is not installed.
    """
    key = f"{weights.sha256}-nms_free={model.nms_free}-image_size={model.image_size}-format={FORMAT}"
    folder = cache_folder()
    for entry in folder.glob(f"{key}-*.onnx"):
        if entry.stem == f"{key}-{digest(entry)}":
            return entry
        entry.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as workplace:
        made = Path(workplace) / "converted.onnx"
        _convert(weights, model, made)
        return made.rename(folder / f"{key}-{digest(made)}.onnx")


def _convert(weights: Weights, model: ModelSettings, exported: Path) -> None:
    from consumer.detection import yolo
    from consumer.detection.shipping import ship_onnx

    network = yolo.read(weights)
    facts = yolo.facts_of(network, weights)
    check_facts(weights, facts)
    has_nms_free, has_dense = yolo.heads_of(network)
    nms_free = choose_head(model.nms_free, weights, has_nms_free=has_nms_free, has_dense=has_dense)
    height, _ = input_size(model, weights, facts)
    try:
        with warnings.catch_warnings(action="ignore"):  # the exporter's own business
            ship_onnx(weights.path, exported, image_size=height, nms_free=nms_free, dynamic=True)
    except Exception as error:  # the exporter raises what its many steps raise
        raise SettingsError(f"model.weights: {weights.path} cannot be converted to ONNX: {one_line(error)}") from error


def cache_folder() -> Path:
    """A folder that this user alone can write: in XDG_CACHE_HOME, else among the temporary files."""
    parent = Path(os.environ.get("XDG_CACHE_HOME") or tempfile.gettempdir())
    folder = parent / f"inspection-consumer-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise SettingsError(f"{folder} cannot keep converted weights: {error.strerror}; set XDG_CACHE_HOME") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise SettingsError(f"{folder} is not ours alone to write: set XDG_CACHE_HOME to a folder of your own")
    return folder
