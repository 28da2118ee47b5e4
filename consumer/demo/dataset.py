"""How do rendered parts become a folder that a YOLO can be trained and judged on?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from consumer.demo.defects import CLASS_NAMES
from consumer.demo.parts import Part, encode, render_part

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


def line_of(seed: int, split: Split) -> int:
    """Give the production line that a split is rendered from: no two seeds or splits share one."""
    return seed * len(SPLITS) + SPLITS.index(split)


def write_dataset(folder: Path, *, seed: int, counts: Mapping[Split, int]) -> Path:
    """Render the splits into `folder` in YOLO's layout and return the path of its `data.yaml`.

    Images are JPEG files `images/{split}/{index}.jpg` with one `labels/{split}/{index}.txt` each, which is empty for
    a part without defects. `train` fits the weights, `val` picks the best epoch, `test` is held out from both.
    """
    for split, count in counts.items():
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for index in range(count):
            part = render_part(line_of(seed, split), index)
            (images / f"{index:05d}.jpg").write_bytes(encode(part, "jpg"))
            (labels / f"{index:05d}.txt").write_text(label_text(part), encoding="utf-8")
    description = folder / "data.yaml"
    description.write_text(_describe(folder, counts), encoding="utf-8")
    return description


def write_images(folder: Path, *, seed: int, count: int) -> None:
    """Render parts 0 to `count` - 1 of the line `seed` as JPEG files, each beside the truth about it as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        part = render_part(seed, index)
        truth = [{"class_name": defect.class_name, "box": defect.box} for defect in part.defects]
        (folder / f"{index:05d}.jpg").write_bytes(encode(part, "jpg"))
        (folder / f"{index:05d}.json").write_text(json.dumps({"defects": truth}), encoding="utf-8")


def label_text(part: Part) -> str:
    """Write the truth as YOLO labels: a line `class x y width height` per defect, centre and size as shares of 1."""
    height, width = part.image.shape[:2]
    lines = []
    for defect in part.defects:
        left, top, right, bottom = defect.box
        x, y = (left + right) / 2 / width, (top + bottom) / 2 / height
        size = (right - left) / width, (bottom - top) / height
        lines.append(f"{CLASS_NAMES.index(defect.class_name)} {x:.6f} {y:.6f} {size[0]:.6f} {size[1]:.6f}\n")
    return "".join(lines)


def _describe(folder: Path, counts: Mapping[Split, int]) -> str:
    # JSON is YAML: no YAML writer is needed for one small file.
    splits = {split: f"images/{split}" for split in counts}
    return json.dumps({"path": str(folder.resolve()), **splits, "names": dict(enumerate(CLASS_NAMES))}, indent=2)
