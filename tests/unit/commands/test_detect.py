"""Does `consumer detect` say of images what the consumer would, and go on when one of them is bad?"""

import json
import logging
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from consumer.__main__ import app
from consumer.demo.dataset import write_images
from tests.models import PARTS_ONNX
from tests.rigs.jobs import picture
from tests.unit.images.stub import StubStore, answer, s3_error

Detect = Callable[..., Result]


@pytest.fixture
def detect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Detect]:
    """`detect("a.jpg", "--json")`, with the stand-in engine and no settings file, in the test's own folder."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONSUMER__MODEL__ENGINE", "tests.stand_ins:null_engine")

    def run(*arguments: str | Path, **options: Any) -> Result:
        return CliRunner().invoke(app, ["detect", *map(str, arguments)], **options)

    yield run
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Three images of different sizes."""
    paths = [tmp_path / f"{seed}.jpg" for seed in range(3)]
    for seed, path in enumerate(paths):
        path.write_bytes(picture(100 + 50 * seed, 90, seed=seed))
    return paths


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 20000x20000 pixels."""
    chunks = b""
    for kind, body in ((b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)), (b"IEND", b"")):
        chunks += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.timeout(30)  # what a stream of jobs would wait for is not
def test_each_bad_file_has_its_reason_and_the_others_go_on(detect: Detect, images: list[Path], tmp_path: Path) -> None:
    bad = {
        "empty.jpg": (b"", "image_undecodable"),
        "page.jpg": (b"<html>404</html>", "image_format_unsupported"),
        "torn.jpg": (images[0].read_bytes()[:400], "image_undecodable"),
        "bomb.png": (bomb(), "image_too_many_pixels"),
        "large.jpg": (b"\xff\xd8\xff" + bytes(40_000), "image_too_large"),
    }
    for name, (content, _) in bad.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.jpg").mkdir()
    bad |= {"folder.jpg": (b"", "image_not_found"), "missing.jpg": (b"", "image_not_found")}

    limits = {"IMAGES__MAX_BYTES": "40000", "IMAGES__NOT_FOUND_GRACE": "600", "LIMITS__MAX_JOB_AGE": "0.000001"}

    done = detect(
        images[0], *bad, images[1], "--json", env={f"CONSUMER__{name}": limit for name, limit in limits.items()}
    )

    first, *rejected, last = lines(done)
    assert done.exit_code == 1
    assert [line["schema"] for line in (first, last)] == ["inspection.result/1"] * 2
    assert {line["image"]: line["reason"] for line in rejected} == {name: why for name, (_, why) in bad.items()}
    assert all(line.keys() == {"image", "reason", "stage", "message"} for line in rejected)


def test_in_a_table_what_is_rejected_goes_to_the_errors(detect: Detect, images: list[Path]) -> None:
    done = detect("no\x1b[31m.jpg", *images)

    rows = [row.split() for row in done.stdout.splitlines()]
    assert done.exit_code == 1
    assert rows[0] == ["CLASS", "CONFIDENCE", "BOX", "FILE"]
    assert [row[-1] for row in rows[1:]] == [str(path) for path in images]
    assert all(row[0] in set("abcdefgh") and 0.5 <= float(row[1]) <= 1 and len(row) == 7 for row in rows[1:])
    assert "rejected: no\N{REPLACEMENT CHARACTER}[31m.jpg: image_not_found" in done.stderr
    assert "4 images, 1 rejected" in done.stderr


@pytest.mark.thorough
def test_many_files_come_in_their_order_from_folders_patterns_and_a_list(detect: Detect, tmp_path: Path) -> None:
    names = [f"{number:03}.jpg" for number in range(150)]  # more than are asked for ahead
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(picture(33, 40, seed=number))

    ways = {"folder": (".",), "pattern": ("*.jpg",), "list": ("-",)}
    told = {way: lines(detect(*arguments, "--json", input="\n".join([*names, ""]))) for way, arguments in ways.items()}

    for way, found in told.items():
        assert [Path(line["image"]["key"]).name for line in found] == names, way
        assert [line["source"]["offset"] for line in found] == list(range(150))
    assert len({line["detections"][0]["confidence"] for line in told["list"]}) > 100, "each image has its own answer"


def test_parameters_rule_the_detections(detect: Detect, images: list[Path]) -> None:
    asked = ("--confidence", "0.4", "--iou", "0.5", "--max-detections", "7", "--classes", "h, 1")

    (line,) = lines(detect(images[0], "--json", *asked))

    assert line["parameters"] == {"confidence": 0.4, "iou": 0.5, "max_detections": 7, "classes": [1, 7]}
    assert lines(detect(images[0], "--json", "--confidence", "1"))[0]["detections"] == []


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        ((), "Missing argument"),
        (("0.jpg", "--confidence", "2"), "--confidence"),
        (("0.jpg", "--max-detections", "0"), "--max-detections"),
        (("0.jpg", "--classes", "z"), "'z' is no class of NullEngine, which knows a, b"),
        (("0.jpg", "--classes", "8"), "'8' is no class"),
        (("0.jpg", "--settings", "none.yaml"), "none.yaml does not exist"),
        (("0.jpg", "--weights", "none.onnx"), "none.onnx does not exist"),
        (
            ("0.jpg", "1.jpg", "--save", "one.png", "--weights", "none.onnx"),
            "pictures of several images need a folder: 0.jpg and 1.jpg",
        ),
        (("0.jpg", "--save", "0.jpg"), "0.jpg is the image itself"),
        (("s3://UPPER/x.jpg",), "'UPPER' is no bucket name"),
        (("s3://",), "'' is no bucket name"),
        (("-",), "no image is named"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_2(
    detect: Detect, images: list[Path], arguments: tuple[str, ...], fact: str
) -> None:
    done = detect(*arguments, input="")

    assert (done.exit_code, done.stdout) == (2, "")
    assert fact in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.thorough
def test_weights_of_ones_own_need_no_settings_and_no_pin(detect: Detect, images: list[Path]) -> None:
    environment = {"CONSUMER__MODEL__ENGINE": "auto", "CONSUMER__MODEL__SHA256": "0" * 64}

    (line,) = lines(detect(images[0], "--weights", PARTS_ONNX, "--json", env=environment))

    assert (line["model"]["name"], line["model"]["engine"]) == ("parts-yolo26n", "openvino")


def test_a_picture_shows_its_detections_and_the_image_stays(detect: Detect, tmp_path: Path) -> None:
    write_images(tmp_path / "parts", seed=4, count=2)
    part = tmp_path / "parts" / "00000.jpg"
    before = part.read_bytes()
    weights = {"CONSUMER__MODEL__ENGINE": "auto", "CONSUMER__MODEL__WEIGHTS": str(PARTS_ONNX)}

    done = detect(part, "parts", "--json", "--save", "out", env=weights)

    again, first, _ = lines(done)
    assert done.exit_code == 0, done.stderr
    assert again["detections"] == first["detections"] != []
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["00000-2.jpg", "00000.jpg", "00001.jpg"]
    assert part.read_bytes() == before
    drawn, plain = (np.asarray(cv2.imread(str(path)), int) for path in (tmp_path / "out" / "00000.jpg", part))
    x1, y1, x2, y2 = (round(side) for side in first["detections"][0]["box"])
    for y, x in ((y2, (x1 + x2) // 2), ((y1 + y2) // 2, x1), ((y1 + y2) // 2, x2)):
        assert np.abs(drawn[y, x] - plain[y, x]).max() > 60
    assert np.abs(drawn[5:20, 5:20] - plain[5:20, 5:20]).max() < 20


def test_a_name_that_is_no_utf8_is_told_all_the_same(detect: Detect, images: list[Path], tmp_path: Path) -> None:
    odd = tmp_path / "p\udcff.jpg"
    images[0].rename(odd)

    done = detect(odd, "p\udcfe.jpg", "--json", "--save", "out")

    found, missing = lines(done)
    assert done.exit_code == 1
    assert found["image"]["key"] == found["job_id"] == str(tmp_path / "p\N{REPLACEMENT CHARACTER}.jpg")
    assert missing["image"] == "p\N{REPLACEMENT CHARACTER}.jpg"


# --- objects ------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubStore]:
    """A store that says first that the bucket is there."""
    for name, text in {
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, text)
    with StubStore() as stub:
        monkeypatch.setenv("CONSUMER__S3__ENDPOINT_URL", stub.endpoint_url)
        stub.answers = [s3_error("404 Not Found", "NoSuchKey")]
        yield stub


def test_an_object_of_any_bucket_is_detected(detect: Detect, store: StubStore) -> None:
    store.answers.append(answer(picture(64, 64)))

    done = detect("s3://parts/line-3/1.jpg", "--json", env={"CONSUMER__IMAGES__ALLOWED_BUCKETS": '["another"]'})

    (line,) = lines(done)
    assert (line["job_id"], line["image"]["bucket"], line["image"]["key"], line["image"]["etag"]) == (
        "s3://parts/line-3/1.jpg",
        "parts",
        "line-3/1.jpg",
        "e1",
    )


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("second", "reason"),
    [(answer(picture(64, 64, seed=2)), "image_changed"), (s3_error("503 Busy", "SlowDown"), "image_unavailable")],
)
def test_a_picture_never_shows_other_bytes_than_were_inspected(
    detect: Detect, store: StubStore, second: bytes, reason: str
) -> None:
    store.answers += [answer(picture(64, 64)), second]

    done = detect("s3://parts/1.jpg", "--json", "--save", "1.png")

    assert (done.exit_code, lines(done)[0]["reason"], Path("1.png").exists()) == (1, reason, False)


def test_an_object_that_keeps_failing_is_given_up(detect: Detect, store: StubStore) -> None:
    store.answers.append(s3_error("500 Oops", "InternalError"))

    done = detect("s3://parts/1.jpg", "--json", env={"CONSUMER__IMAGES__UNAVAILABLE_AFTER": "0.05"})

    assert (done.exit_code, lines(done)[0]["reason"]) == (1, "image_unavailable")


@pytest.mark.parametrize(
    ("said", "code", "fact"),
    [
        (s3_error("404 Not Found", "NoSuchBucket"), 2, "bucket parts at"),
        (s3_error("503 Busy", "SlowDown"), 3, "SlowDown"),
    ],
)
def test_a_bucket_that_cannot_be_read_is_said_at_once(
    detect: Detect, store: StubStore, said: bytes, code: int, fact: str
) -> None:
    store.answers = [said]

    done = detect("s3://parts/1.jpg", "--json")

    assert (done.exit_code, done.stdout) == (code, "")
    assert fact in done.stderr


def test_a_device_that_fails_ends_it_with_5(detect: Detect, images: list[Path]) -> None:
    done = detect(*images, env={"CONSUMER__MODEL__ENGINE": "tests.stand_ins:broken_engine"})

    assert (done.exit_code, done.stdout) == (5, "")
    assert "the engine fails on the canary: RuntimeError: the stand-in is broken" in done.stderr
