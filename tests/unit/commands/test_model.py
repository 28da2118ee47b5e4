"""Do the commands of `consumer model` say what weights are and do, and refuse in one line what cannot be?"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from consumer.__main__ import app
from consumer.demo.dataset import write_images
from tests.models import DENSE_ONNX, DENSE_PT, PARTS_ONNX, PARTS_PT, STATIC_ONNX
from tests.rigs.jobs import picture

Command = Callable[..., Result]


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Command]:
    """`model("info", PARTS_ONNX)` in the test's own folder, without a settings file."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.chdir(tmp_path)
    yield lambda *arguments: CliRunner().invoke(app, ["model", *map(str, arguments)])
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def refusal(done: Result) -> str:
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize(
    ("weights", "heads", "static"),
    [(PARTS_ONNX, ["NMS-free"], None), (DENSE_ONNX, ["dense"], None), (STATIC_ONNX, ["dense"], [1, 320, 320])],
)
def test_an_onnx_file_says_what_it_is(
    model: Command, weights: Path, heads: list[str], static: list[int] | None
) -> None:
    found = json.loads(model("info", weights, "--json").stdout)
    assert (found["heads"], found["static_shape"], found["precision"]) == (heads, static, "f32")
    assert (found["opset"], found["exporter"], found["image_size"]) == (18, "Ultralytics 8.4.190", [320, 320])
    assert found["licence"].startswith("AGPL-3.0")
    assert found["engines"]["torch"] == "runs .pt weights alone"
    assert found["engines"]["openvino"] is None


def test_a_person_reads_the_licence_too(model: Command) -> None:
    done = model("info", PARTS_ONNX)
    assert "licence         AGPL-3.0" in done.stdout
    assert "openvino        can run it" in done.stdout


def test_weights_that_are_none_are_refused(model: Command, tmp_path: Path) -> None:
    whole = PARTS_ONNX.read_bytes()
    for name, content in {"empty": b"", "text": b"<html>404</html>", "torn": whole[:-200_000]}.items():
        (tmp_path / f"{name}.onnx").write_bytes(content)
        assert "no readable ONNX file" in refusal(model("info", f"{name}.onnx"))
    assert "does not exist" in refusal(model("info", "no.onnx"))


@pytest.mark.parametrize("command", ["export", "bench", "quantize"])
def test_missing_weights_are_named(model: Command, tmp_path: Path, command: str) -> None:
    more = {"export": ["--to", "onnx"], "bench": [], "quantize": ["--images", ".", "--to", "q.onnx"]}[command]
    suffix = "onnx" if command == "quantize" else "pt"
    assert f"no.{suffix} does not exist" in refusal(model(command, f"no.{suffix}", *more))


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        ([PARTS_ONNX, "--to", "onnx"], "is no .pt file"),
        ([PARTS_PT, "--to", "onnx", "--out", "there.onnx"], "there.onnx exists"),
        ([PARTS_PT, "--to", "onnx", "--out", "model.xml"], "expected .onnx"),
        ([PARTS_PT, "--to", "tensorrt", "--out", "b.onnx"], "fills a cache and writes no file"),
    ],
)
def test_an_export_that_cannot_be_is_refused(model: Command, tmp_path: Path, arguments: list[str], fact: str) -> None:
    (tmp_path / "there.onnx").write_bytes(b"old")
    assert fact in refusal(model("export", *arguments))
    assert [path.name for path in tmp_path.iterdir()] == ["there.onnx"]


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (["--engines", "tensorflow"], "--engines: 'tensorflow'"),
        (["--precisions", "f8"], "'f8' is none of"),
        (["--shapes", ""], "--shapes"),
    ],
)
def test_a_bench_of_what_nobody_knows_is_refused(model: Command, arguments: list[str], fact: str) -> None:
    assert fact in refusal(model("bench", DENSE_ONNX, *arguments))


@pytest.mark.thorough
def test_a_bench_where_nothing_runs_ends_with_1_and_the_reason(model: Command) -> None:
    done = model("bench", DENSE_ONNX, "--engines", "torch", "--json")
    assert done.exit_code == 1
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["engine"] for row in rows] == ["torch", "torch"]
    assert all("runs .pt weights" in row["reason"] for row in rows)


def test_quantising_needs_images_that_can_be_read(model: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    one = tmp_path / "one"
    one.mkdir()
    (one / "a.jpg").write_bytes(picture(64, 64))
    assert "holds no file" in refusal(model("quantize", DENSE_ONNX, "--images", "empty", "--to", "q.onnx"))
    assert "at least two" in refusal(model("quantize", DENSE_ONNX, "--images", "one", "--to", "q.onnx"))
    assert "no .onnx file" in refusal(model("quantize", PARTS_PT, "--images", "one", "--to", "q.onnx"))
    assert not (tmp_path / "q.onnx").exists()


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arguments", "static"),
    [(["--to", "onnx"], None), (["--to", "openvino"], None), (["--to", "onnx", "--static"], [1, 320, 320])],
    ids=["onnx", "openvino", "static"],
)
def test_an_export_runs_and_says_its_digest(
    model: Command, tmp_path: Path, arguments: list[str], static: list[int] | None
) -> None:
    done = model("export", DENSE_PT, "--out", "made.onnx", "--json", *arguments)
    made = json.loads(done.stdout)
    assert made["sha256"] == hashlib.sha256((tmp_path / "made.onnx").read_bytes()).hexdigest()
    assert (made["agreement"] is None) == ("openvino" not in arguments)

    found = json.loads(model("info", "made.onnx", "--json").stdout)
    assert (found["static_shape"], found["image_size"], found["engines"]["openvino"]) == (static, [320, 320], None)


def test_tensorrt_is_refused_where_there_is_none(model: Command) -> None:
    assert "tensorrt" in refusal(model("export", PARTS_ONNX, "--to", "tensorrt"))


@pytest.mark.thorough
def test_a_bench_has_numbers_and_what_agrees(model: Command) -> None:
    done = model("bench", DENSE_ONNX, DENSE_PT, "--precisions", "f32", "--seconds", "0.3", "--json")
    rows = {row["engine"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert done.exit_code == 0
    assert set(rows) == {"torch", "openvino", "onnxruntime"}
    assert rows["torch"]["is_reference"]
    for row in rows.values():
        assert row["reason"] is None
        assert row["images_per_second"] > 0
        assert row["is_reference"] or row["agreement"]["matched"] == 1


@pytest.mark.thorough
def test_quantising_says_what_it_did_and_nothing_else(model: Command, tmp_path: Path) -> None:
    write_images(tmp_path / "parts", seed=6, count=12)
    (tmp_path / "parts" / "broken.jpg").write_bytes(b"no image")
    done = model("quantize", DENSE_ONNX, "--images", "parts", "--to", "int8.onnx", "--json")
    assert json.loads(done.stdout)["calibrated_with"] > 5
    assert "left out: " in done.stderr
    assert "images are few" in done.stderr
    assert json.loads(model("info", "int8.onnx", "--json").stdout)["precision"] == "int8"
    assert "is int8 already" in refusal(model("quantize", "int8.onnx", "--images", "parts", "--to", "again.onnx"))
