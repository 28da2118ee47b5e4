"""Does `consumer demo` render what it says, and refuse what it cannot do?"""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from consumer.commands.demo import app
from consumer.demo.report import Report
from consumer.demo.score import Score
from consumer.demo.show import Show
from consumer.showcase import showcase
from consumer.showcase.showcase import Plan


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


def planned(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The plan that the command line asks for; nothing of it is done."""
    plans: list[Plan] = []

    def note(plan: Plan, _: Show) -> Report:
        plans.append(plan)
        return Report(0, 1.0, 0, (), {}, Score(), ())

    monkeypatch.setattr(showcase, "run_demo", note)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return plans[0]


def test_without_a_command_the_whole_demo_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned([], monkeypatch)

    assert plan == planned(["run"], monkeypatch)
    assert (plan.parts, plan.replicas, plan.wish.delivery, plan.keeps_running) == (200, 1, "at_least_once", False)


def test_a_broker_of_yours_gets_three_replicas_unless_another_number_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    servers = ["--bootstrap-servers", "kafka:9092"]

    assert planned(["run", *servers], monkeypatch).replicas == 3
    assert planned(["run", *servers, "--replicas", "2"], monkeypatch).replicas == 2
    assert planned(["run", "--replicas", "2"], monkeypatch).replicas == 2


def test_an_endpoint_without_a_bucket_is_refused() -> None:
    result = CliRunner().invoke(app, ["run", "--s3-endpoint", "http://store"])

    assert result.exit_code == 2
    assert "--s3-endpoint needs --bucket" in result.stderr
