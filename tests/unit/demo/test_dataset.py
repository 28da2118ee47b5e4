"""Does a rendered data set say the same as the parts it was made from?"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from consumer.demo.dataset import SPLITS, Split, label_text, line_of, write_dataset, write_images
from consumer.demo.defects import CLASS_NAMES
from consumer.demo.parts import encode, render_part


def test_labels_give_back_the_boxes_they_were_written_from() -> None:
    part = next(part for part in (render_part(3, index) for index in range(9)) if len(part.defects) > 1)
    height, width = part.image.shape[:2]

    for line, defect in zip(label_text(part).splitlines(), part.defects, strict=True):
        class_id, x, y, w, h = (float(word) for word in line.split())
        box = [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height]
        assert CLASS_NAMES[int(class_id)] == defect.class_name
        assert box == pytest.approx(defect.box, abs=0.01)


def test_no_two_seeds_or_splits_share_a_line() -> None:
    lines = [line_of(seed, split) for seed in range(10) for split in SPLITS]

    assert len(set(lines)) == len(lines)


def test_a_dataset_holds_each_split_with_a_label_file_per_image(tmp_path: Path) -> None:
    counts: dict[Split, int] = {"train": 2, "val": 1, "test": 1}
    described = write_dataset(tmp_path, seed=7, counts=counts)

    description = json.loads(described.read_text())
    assert description["names"] == {str(index): name for index, name in enumerate(CLASS_NAMES)}
    for split in SPLITS:
        images = sorted((Path(description["path"]) / description[split]).iterdir())
        labels = sorted((tmp_path / "labels" / split).iterdir())
        assert [image.stem for image in images] == [label.stem for label in labels]
        assert len(images) == counts[split]
        part = render_part(line_of(7, split), 0)
        assert images[0].read_bytes() == encode(part, "jpg")
        assert labels[0].read_text() == label_text(part)


def test_written_images_lie_beside_the_truth_about_them(tmp_path: Path) -> None:
    write_images(tmp_path / "parts", seed=2, count=2)

    part = render_part(2, 1)
    truth = json.loads((tmp_path / "parts" / "00001.json").read_text())
    assert [(defect["class_name"], tuple(defect["box"])) for defect in truth["defects"]] == [
        (defect.class_name, defect.box) for defect in part.defects
    ]
    image = cv2.imdecode(np.fromfile(tmp_path / "parts" / "00001.jpg", np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == part.image.shape
