"""How does a training checkpoint become weights that may leave the machine, as `.pt` and as `.onnx`?"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from consumer.detection.yolo import prepare

# The date inside a file tells nothing and would give the same weights another digest.
_DATE = ""


def ship_pytorch(checkpoint: Path, weights: Path, *, image_size: int) -> None:
    """Write a checkpoint's averaged model in half precision, without its optimizer and without the machine's paths.

    Of the training arguments only the task and the image size stay: the others name folders and are in the recipe.
    """
    prepare()
    import torch
    from ultralytics import __version__
    from ultralytics.nn.tasks import torch_safe_load

    loaded, _ = torch_safe_load(str(checkpoint))  # type: ignore[no-untyped-call]
    model = loaded["ema"] or loaded["model"]
    model.half().requires_grad_(False)
    kept = {"task": "detect", "imgsz": image_size, "data": ""}
    model.args = kept
    model.pt_path = weights.name
    model.yaml["yaml_file"] = Path(model.yaml["yaml_file"]).name
    licence = "AGPL-3.0 License (https://ultralytics.com/license)"
    about = {"train_args": kept, "version": __version__, "license": licence, "date": _DATE}
    torch.save({"model": model, **about}, weights)


def ship_onnx(weights: Path, exported: Path, *, image_size: int, nms_free: bool, dynamic: bool) -> None:
    """Export `.pt` weights to ONNX in float32, with the NMS-free head or the dense one.

    Dynamic files leave batch, height and width open; the others run `image_size` squares one by one. Ultralytics
    chooses the head by `nms`: False is the NMS-free output (N, 300, 6), None the dense one (N, 4 + classes, anchors).
    """
    prepare()
    import onnx
    from ultralytics.models.yolo.model import YOLO

    with tempfile.TemporaryDirectory() as folder:
        # The export is written beside its source.
        copy = shutil.copy(weights, Path(folder) / exported.with_suffix(".pt").name)
        nms = False if nms_free else None
        written = YOLO(copy).export(format="onnx", imgsz=image_size, nms=nms, dynamic=dynamic, simplify=False)
        model = onnx.load(written)
    for entry in model.metadata_props:
        if entry.key == "date":
            entry.value = _DATE
    for node in model.graph.node:
        # The exporter leaves the source lines that made a node, with the paths of this machine's packages.
        node.doc_string = ""
        del node.metadata_props[:]
    onnx.save(model, exported)
