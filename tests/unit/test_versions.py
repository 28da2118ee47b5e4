"""Does `consumer --version` name what matters, without importing an engine, and does the shell complete?"""

import hashlib
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from consumer.__main__ import app

WEIGHTS = Path(__file__).parents[2] / "consumer/demo/weights/parts-yolo26n.onnx"


def lines(**environment: str) -> dict[str, str]:
    result = CliRunner().invoke(app, ["--version"], env=environment)
    assert result.exit_code == 0
    return {line.split()[0]: line.partition(" ")[2].strip() for line in result.stdout.splitlines()}


def test_the_versions_that_matter_are_named() -> None:
    told = lines()

    assert {"consumer", "python", "librdkafka", "openvino", "torch", "ultralytics", "onnxruntime"} <= told.keys()
    for library in ("confluent-kafka", "obstore", "openvino"):
        assert told[library] == version(library)
    assert told["opencv"] == version("opencv-python-headless")
    assert told["librdkafka"][0].isdigit()


def test_the_weights_that_the_settings_name_are_told_with_their_digest() -> None:
    told = lines(CONSUMER__MODEL__WEIGHTS=str(WEIGHTS))
    assert told["weights"] == f"{WEIGHTS} sha256 {hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()}"


@pytest.mark.parametrize("weights", ["", "/nowhere.onnx"])
def test_a_mistake_in_the_settings_does_not_keep_the_versions_back(weights: str) -> None:
    assert lines(CONSUMER__MODEL__WEIGHTS=weights)["weights"].startswith("none: ")


def test_no_engine_is_imported_for_it() -> None:
    program = (
        "import sys\nfrom consumer.versions import versions\nlist(versions())\n"
        "print({'torch', 'openvino', 'ultralytics', 'cv2', 'obstore'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("shell", "how"),
    [
        ("bash", {"COMP_WORDS": "consumer publish --key ", "COMP_CWORD": "3"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "consumer publish --key "}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "consumer publish --key ", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
def test_every_shell_completes_the_values_of_an_option(shell: str, how: dict[str, str]) -> None:
    environment = {"_CONSUMER_COMPLETE": f"complete_{shell}", **how}
    assert "job-id" in CliRunner().invoke(app, [], prog_name="consumer", env=environment).stdout


def test_reasons_are_completed() -> None:
    environment = {"_CONSUMER_COMPLETE": "complete_bash", "COMP_CWORD": "4"}
    environment["COMP_WORDS"] = "consumer deadletters list --reason image_n"
    assert CliRunner().invoke(app, [], prog_name="consumer", env=environment).stdout.split() == ["image_not_found"]


def test_a_terminal_without_the_letters_gets_question_marks() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "CONSUMER__IMAGES__ALLOWED_BUCKETS": '["x"]'}
    asked = (sys.executable, "-m", "consumer", "config", "show")
    environment["CONSUMER__KAFKA__GROUP_ID"] = "Prüfung"
    done = subprocess.run(asked, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Pr?fung" in done.stdout
