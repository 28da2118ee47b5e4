"""How do inspected images and what was found in them become a dataset that people can relabel and train with?"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import polars as pl
import yaml

from consumer.audit.report import Shown, shown_of
from consumer.errors import CheckFailed

_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "BMP": ".bmp", "TIFF": ".tif", "WEBP": ".webp"}
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 80


class Dataset(Protocol):
    """A folder that images are added to; `close` writes what belongs to all of them."""

    def add(self, one: Shown, name: str) -> None: ...
    def close(self) -> None: ...


def wanted(rows: pl.LazyFrame) -> Iterator[Shown]:
    """The results of these rows, each image's bytes once (as it was last inspected), in the files' order."""
    results = rows.filter(pl.col("kind") == "result", pl.col("width") > 0, pl.col("height") > 0)
    last = (
        results.select("sha256", "time", "topic", "partition", "offset")
        .group_by("sha256")
        .agg(pl.all().sort_by("time", "topic", "partition", "offset").last())
    )
    keys = ["topic", "partition", "offset"]
    chosen = results.join(last.select(keys), on=keys, how="semi").collect(engine="streaming")
    for row in chosen.unique(keys, maintain_order=True).iter_rows(named=True):
        yield shown_of(row)


def class_names(results: Iterable[Shown]) -> dict[int, str]:
    """By class id. Raises CheckFailed where one id has two names: then the results are of different weights."""
    names: dict[int, str] = {}
    for one in results:
        for detection in one.detections:
            known = names.setdefault(detection.class_id, detection.class_name)
            if known != detection.class_name:
                raise CheckFailed(
                    f"class {detection.class_id} is {known} in one result and {detection.class_name} in {one.place}: "
                    "choose the results of one set of weights (--model)"
                )
    return dict(sorted(names.items()))


def file_name(one: Shown, kind: str) -> str:
    """Unique for each image, and what its key looks like: the beginning of its SHA-256 stands behind."""
    stem = _UNSAFE.sub("_", Path(one.image.key).stem)[:_LONGEST].strip("._") or "image"
    return f"{stem}-{one.sha256[:12]}{_SUFFIXES.get(kind, '.jpg')}"


@dataclass(slots=True)
class Yolo:
    """Ultralytics' layout: `data.yaml`, images/ and labels/, a line of class and centre x, centre y, width, height
    (shares of the image's own) for each detection."""

    folder: Path
    names: dict[int, str]

    def add(self, one: Shown, name: str) -> None:
        labels = self.folder / "labels"
        labels.mkdir(parents=True, exist_ok=True)
        lines = [_line(one, detection.class_id, detection.box) for detection in one.detections]
        (labels / name).with_suffix(".txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def close(self) -> None:
        """Ids without a detection have a name too: Ultralytics counts from 0 without gaps."""
        names = {number: self.names.get(number, f"class_{number}") for number in range(max(self.names, default=-1) + 1)}
        said = {"train": "images", "val": "images", "names": names}  # without `path` they lie beside this file
        text = yaml.safe_dump(said, sort_keys=False, allow_unicode=True)
        (self.folder / "data.yaml").write_text(f"# Made by consumer audit export.\n{text}", encoding="utf-8")


@dataclass(slots=True)
class Coco:
    """`annotations.json` beside images/; boxes are x, y, width, height in pixels, category ids are class ids + 1, since
    0 is the background to many tools; `score` is the confidence."""

    folder: Path
    names: dict[int, str]
    _images: list[dict[str, Any]] = field(default_factory=list)
    _annotations: list[dict[str, Any]] = field(default_factory=list)

    def add(self, one: Shown, name: str) -> None:
        number = len(self._images) + 1
        said = {"id": number, "file_name": name, "width": one.width, "height": one.height}
        self._images.append(said | {"source": one.image.uri, "sha256": one.sha256, "job_id": one.job_id})
        for detection in one.detections:
            x1, y1, x2, y2 = detection.box
            width, height = round(x2 - x1, 2), round(y2 - y1, 2)
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    "image_id": number,
                    "category_id": detection.class_id + 1,
                    "bbox": [x1, y1, width, height],
                    "area": round(width * height, 2),
                    "iscrowd": 0,
                    "score": detection.confidence,
                }
            )

    def close(self) -> None:
        categories = [{"id": number + 1, "name": name} for number, name in self.names.items()]
        info = {"description": "Made by consumer audit export", "date_created": datetime.now(UTC).isoformat()}
        said = {
            "info": info,
            "licenses": [],
            "images": self._images,
            "annotations": self._annotations,
            "categories": categories,
        }
        (self.folder / "annotations.json").write_text(json.dumps(said, indent=1), encoding="utf-8")


FORMATS: dict[str, Callable[[Path, dict[int, str]], Dataset]] = {"yolo": Yolo, "coco": Coco}


def _line(one: Shown, class_id: int, box: tuple[float, float, float, float]) -> str:
    x1, x2 = (min(max(side / one.width, 0.0), 1.0) for side in (box[0], box[2]))
    y1, y2 = (min(max(side / one.height, 0.0), 1.0) for side in (box[1], box[3]))
    return f"{class_id} {(x1 + x2) / 2:.6f} {(y1 + y2) / 2:.6f} {x2 - x1:.6f} {y2 - y1:.6f}"
