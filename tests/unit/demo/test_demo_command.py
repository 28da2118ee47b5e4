"""Does `consumer demo` render what it says, and refuse what it cannot do?"""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from consumer.commands.demo import app


def test_demo_render_writes_pictures_and_the_truth_about_them(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["render", str(tmp_path / "parts"), "--count", "2", "--seed", "7"])

    assert result.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == [
        "00000.jpg",
        "00000.json",
        "00001.jpg",
        "00001.json",
    ]


def test_demo_train_refuses_a_folder_that_holds_a_dataset(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()

    result = CliRunner().invoke(app, ["train", str(tmp_path)])

    assert result.exit_code == 2
    assert "already" in result.output
