"""How are weights trained from scratch on a folder of labelled images, and how good are they?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consumer.cores import available_cores
from consumer.detection.yolo import prepare


@dataclass(frozen=True)
class Recipe:
    """What settles a training run besides its images; the defaults made the shipped YOLO26n weights.

    `architecture` is a model file: a name that Ultralytics ships (no download) or a path. `nms_free` says which head
    picks the best epoch and is reported on; a dense architecture has no other choice than False.
    """

    architecture: str = "yolo26n.yaml"
    nms_free: bool = True
    epochs: int = 12
    image_size: int = 320
    batch: int = 16
    learning_rate: float = 0.002
    seed: int = 0

    def arguments(self) -> dict[str, Any]:
        """Give the recipe in Ultralytics' words."""
        return {
            "epochs": self.epochs,
            "imgsz": self.image_size,
            "batch": self.batch,
            "nbs": self.batch,
            "seed": self.seed,
            "nms": False if self.nms_free else None,
            "optimizer": "AdamW",
            "lr0": self.learning_rate,
            "momentum": 0.9,
            "cos_lr": True,
            "warmup_epochs": 1.0,
            "warmup_bias_lr": 0.0,
            # Parts lie on the belt at any angle, so both flips are true to life; mosaics would halve small defects.
            "mosaic": 0.0,
            "flipud": 0.5,
            "scale": 0.4,
            "hsv_s": 0.4,
            "hsv_v": 0.3,
        }


def train(description: Path, recipe: Recipe, folder: Path, report: Callable[[str], object]) -> Path:
    """Train on the dataset that `description` (data.yaml) names, write to `folder`, return the best checkpoint.

    `report` is told how good the weights are after each epoch.
    """
    prepare()
    import torch
    from ultralytics.models.yolo.detect import DetectionTrainer
    from ultralytics.models.yolo.model import YOLO
    from ultralytics.nn.tasks import DetectionModel

    class Bfloat16Model(DetectionModel):
        """Runs the layers in bfloat16 and the loss in float32."""

        def loss(self, batch: dict[str, Any], preds: Any = None) -> Any:
            with torch.autocast(batch["img"].device.type, torch.bfloat16):
                preds = self.forward(batch["img"])  # type: ignore[no-untyped-call]
            return super().loss(batch, _as_float(preds))  # type: ignore[no-untyped-call]

    class Trainer(DetectionTrainer):
        """Ultralytics offers bfloat16 on CUDA alone; on a CPU that has it, it halves the time of an epoch."""

        def _setup_train(self) -> None:
            super()._setup_train()  # type: ignore[no-untyped-call]
            # The averaged copy, the one that is judged and saved, was taken before: it stays a plain model.
            model: Any = self.model
            model.__class__ = Bfloat16Model
            model.to(memory_format=torch.channels_last)

    # Deterministic mode fills every new tensor first, which nothing here reads and which costs a tenth of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_num_threads(available_cores())
    model = YOLO(recipe.architecture, task="detect")
    model.add_callback("on_fit_epoch_end", lambda trainer: report(_progress(trainer)))
    model.train(
        trainer=Trainer,
        data=str(description),
        project=str(folder.parent),
        name=folder.name,
        exist_ok=True,
        pretrained=False,
        amp=False,
        cache="ram",
        workers=1,
        plots=False,
        **recipe.arguments(),
    )
    return folder / "weights" / "best.pt"


def measure(weights: Path, description: Path, recipe: Recipe) -> dict[str, dict[str, float]]:
    """Judge .pt or .onnx weights on the dataset's held-out split, image by image on a square of the recipe's size.

    Gives `{class name or "all": {"mAP50": …, "mAP50-95": …}}` as measured by Ultralytics' own validation.
    """
    prepare()
    from ultralytics.models.yolo.model import YOLO

    with tempfile.TemporaryDirectory() as folder:
        found = YOLO(str(weights), task="detect").val(
            data=str(description),
            split="test",
            imgsz=recipe.image_size,
            nms=False if recipe.nms_free else None,
            batch=1,
            rect=False,
            workers=0,
            plots=False,
            project=folder,
        )
    table = {"all": {"mAP50": float(found.box.map50), "mAP50-95": float(found.box.map)}}
    for row, class_id in enumerate(found.box.ap_class_index):
        of_class = {"mAP50": float(found.box.ap50[row]), "mAP50-95": float(found.box.ap[row])}
        table[found.names[int(class_id)]] = of_class
    return table


def _progress(trainer: Any) -> str:
    # Once more after the last epoch, for the best one.
    epoch, precision = trainer.epoch + 1, trainer.metrics["metrics/mAP50(B)"]
    return f"epoch {epoch} of {trainer.epochs}: mAP50 {precision:.3f}"


def _as_float(predictions: Any) -> Any:
    match predictions:
        case dict():
            return {name: _as_float(value) for name, value in predictions.items()}
        case list() | tuple():
            return [_as_float(value) for value in predictions]
        case _:
            return predictions.float()
