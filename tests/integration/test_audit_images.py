"""Reports, pictures and datasets of an audit: each from the very bytes that were inspected, on a real S3."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from pycocotools.coco import COCO
from typer.testing import CliRunner

from consumer.__main__ import app
from consumer.audit.columns import JOBS_SCHEMA, OUTCOMES_SCHEMA
from consumer.audit.rows import job_rows, result_rows
from consumer.detection.yolo import prepare
from consumer.messages import Detection, ImageReference
from tests.rigs.audit_rows import RESULTS, START, a_job_record, a_result_of, lying, write_files
from tests.rigs.browser import NoBrowser, open_browser
from tests.rigs.jobs import picture
from tests.rigs.s3 import S3Server

pytestmark = [pytest.mark.s3]

Run = Callable[..., tuple[int, str]]
BOX = (12.5, 20.0, 300.0, 410.25)


@pytest.fixture
def run(s3: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("report", …)` over an audit of six images: the fourth is gone, the fifth has other bytes by now."""
    for name, value in {**s3.environment, "CONSUMER__S3__ENDPOINT_URL": s3.endpoint_url}.items():
        monkeypatch.setenv(name, value)
    results = []
    jobs = [a_job_record(0, offset, START) for offset in range(6)]
    for job in jobs:
        content = picture(640, 480, seed=job.offset)
        key = f"line 3/{job.offset}.jpg"
        if job.offset != 3:
            s3.put(bucket, key, b"another one" if job.offset == 4 else content)
        found = [Detection(2, "scratch", 0.45, BOX), Detection(0, "dent", 0.95, (0.0, 0.0, 640.0, 480.0))]
        message = a_result_of(
            job,
            detections=found[: job.offset % 3],
            image=ImageReference(bucket, key),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        results.append(lying(message, RESULTS, 0, job.offset, START))
    audit = tmp_path / "audit"
    write_files(audit, jobs, JOBS_SCHEMA, job_rows)
    write_files(audit, results, OUTCOMES_SCHEMA, result_rows)

    def run(command: str, *arguments: str | Path) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["audit", command, *map(str, arguments), "--from", str(audit)])
        return done.exit_code, done.output

    return run


def test_a_report_shows_what_was_inspected_and_says_what_it_cannot_show(run: Run, tmp_path: Path) -> None:
    code, output = run("report", tmp_path / "report.html")

    assert code == 0, output
    assert "2 pictures are not shown: " in output
    assert "1 image_not_found" in output
    assert "1 image_changed" in output
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 4
    assert "http://" not in page.replace("http://www.w3.org", "")


@pytest.mark.slow
def test_a_report_in_a_browser_draws_its_charts_and_hides_a_class(run: Run, tmp_path: Path) -> None:
    run("report", tmp_path / "report.html")
    profile = tmp_path / "profile"
    profile.mkdir()
    try:
        with open_browser(profile) as page:
            page.open(tmp_path / "report.html")
            bars = "document.querySelectorAll('#charts-all svg rect').length"
            assert page.evaluate(bars) > 0
            assert page.evaluate("document.querySelectorAll('#charts-all .length').length") == 2
            boxes = "document.querySelectorAll('#grid rect.found').length"
            assert page.evaluate(boxes) == 5
            page.click("#classes .chip")
            assert page.evaluate(boxes) == 3
            page.click("#classes .chip")
            page.evaluate(
                "(() => { const s = document.getElementById('confidence'); s.value = 0.5;"
                " s.dispatchEvent(new Event('input')); })()"
            )
            page.next_frame()
            assert page.evaluate(boxes) == 2
            assert page.complaints == []
            assert [one for one in page.requests if not one.startswith(("file:", "data:"))] == []
    except NoBrowser as reason:
        pytest.skip(str(reason))


def test_a_story_has_its_picture_as_long_as_the_bytes_are_the_same(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "part.png"

    code, output = run("explain", "part-0-2", "--picture", file)
    assert code == 0, output
    assert "still has the bytes that were inspected" in output
    drawn = cv2.imread(str(file))
    assert drawn is not None
    plain = cv2.imdecode(np.frombuffer(picture(640, 480, seed=2), np.uint8), cv2.IMREAD_COLOR)
    assert plain is not None
    assert (drawn[20, 30:290] != plain[20, 30:290]).any(axis=1).mean() > 0.9, "the upper line of the scratch's box"

    assert run("explain", "part-0-3", "--check")[0] == 1
    code, output = run("explain", "part-0-4", "--check")
    assert (code, "has other bytes now" in output) == (1, True)


def test_a_yolo_export_is_read_by_ultralytics_as_it_was_written(run: Run, tmp_path: Path) -> None:
    code, output = run("export", tmp_path / "set", "--format", "yolo", "--all")

    assert code == 1, output
    assert "2 images were left out" in output
    assert "3.jpg: image_not_found" in output
    assert "4.jpg: image_changed" in output
    said = yaml.safe_load((tmp_path / "set" / "data.yaml").read_text())
    assert said["names"] == {0: "dent", 1: "class_1", 2: "scratch"}
    assert len(list((tmp_path / "set" / "images").iterdir())) == 4
    labels = read_by_ultralytics(tmp_path / "set")
    assert sorted(len(boxes) for _, boxes in labels) == [0, 1, 2, 2]
    (boxes,) = (boxes for file, boxes in labels if file.name.startswith("2-"))
    x, y, width, height = boxes[0][1:]
    assert ((x - width / 2) * 640, (y - height / 2) * 480) == pytest.approx(BOX[:2], abs=0.01)
    assert ((x + width / 2) * 640, (y + height / 2) * 480) == pytest.approx(BOX[2:], abs=0.01)


def read_by_ultralytics(folder: Path) -> list[tuple[Path, list[list[float]]]]:
    """The images of the set with their rows of class and box, by Ultralytics' own loader."""
    prepare()
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    data = check_det_dataset(str(folder / "data.yaml"), autodownload=False)
    dataset = YOLODataset(str(folder / "images"), data=data, task="detect", augment=False)
    return [
        (
            Path(label["im_file"]),
            [[float(kind[0]), *map(float, box)] for kind, box in zip(label["cls"], label["bboxes"], strict=True)],
        )
        for label in dataset.labels
    ]


def test_a_coco_export_is_read_by_pycocotools_as_it_was_written(run: Run, tmp_path: Path) -> None:
    run("export", tmp_path / "set", "--format", "coco", "--all")

    coco = COCO(str(tmp_path / "set" / "annotations.json"))

    assert {one["id"]: one["name"] for one in coco.loadCats(coco.getCatIds())} == {1: "dent", 3: "scratch"}
    assert len(coco.getImgIds()) == 4
    for one in coco.loadImgs(coco.getImgIds()):
        assert (tmp_path / "set" / "images" / one["file_name"]).is_file()
    scratches = coco.loadAnns(coco.getAnnIds(catIds=[3]))
    assert [one["bbox"] for one in scratches] == [[12.5, 20.0, 287.5, 390.25]] * 3
    assert {one["score"] for one in scratches} == {0.45}


def test_an_export_has_the_borderline_ones_and_no_image_twice(run: Run, tmp_path: Path) -> None:
    run("export", tmp_path / "set", "--format", "coco")

    images = json.loads((tmp_path / "set" / "annotations.json").read_text())["images"]
    assert sorted(one["source"].rpartition("/")[2] for one in images) == ["1.jpg", "2.jpg", "5.jpg"]


def test_an_export_overwrites_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("mine")

    code, output = run("export", tmp_path / "set", "--format", "yolo")

    assert (code, "has something in it" in output) == (2, True)
