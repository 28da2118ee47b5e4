"""Does `consumer plan` say what was planned, and refuse what cannot be?"""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from consumer.__main__ import app
from consumer.planning.plan import Plan
from tests.rigs.jobs import picture

Ask = Callable[..., Result]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Ask]:
    """`ask("--rate", "5000")`, with the stand-in engine and no settings file, in the test's own folder."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONSUMER__MODEL__ENGINE", "tests.stand_ins:null_engine")
    monkeypatch.setattr("consumer.planning.measuring.STAGE_SECONDS", 0.0)
    monkeypatch.setattr("consumer.planning.measuring.ENGINE_SECONDS", 0.0)
    yield lambda *arguments: CliRunner().invoke(app, ["plan", *arguments])
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def test_a_plan_for_people_names_all_that_is_needed(ask: Ask) -> None:
    done = ask("--rate", "50", "--image", "320x240", "--cores", "8")
    assert done.exit_code == 0, done.output
    for name in ("one replica", "replicas", "partitions", "network", "S3", "Kafka", "memory", "latency", "catching up"):
        assert f"\n{name}" in done.output
    assert "320x240" in done.output
    assert "while it is away nothing is done" in done.stderr


def test_a_plan_from_a_file_is_that_of_the_machine_where_it_was_measured(ask: Ask) -> None:
    first = ask("--rate", "50", "--image", "320x240", "--save-measurements", "here.json", "--json")
    again = ask("--rate", "50", "--measurements", "here.json", "--json")
    assert (first.exit_code, again.exit_code) == (0, 0), first.output + again.output
    assert msgspec.json.decode(first.stdout, type=Plan) == msgspec.json.decode(again.stdout, type=Plan)


def test_settings_rule_what_is_theirs(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUMER__LIMITS__MAX_IN_FLIGHT", "3")
    done = ask("--rate", "5", "--image", "64x64", "--json")
    assert json.loads(done.stdout)["question"]["max_in_flight"] == 3


def test_own_images_are_measured(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture(100, 60))
    done = ask("--rate", "5", "--images", "a.jpg", "--json")
    assert json.loads(done.stdout)["measurements"]["images"]["size"] == "100x60"


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (["--rate", "0"], "'--rate': Input should be greater than"),
        (["--rate", "nan"], "Invalid value for '--rate'"),
        (["--rate", "inf"], "Invalid value for '--rate'"),
        (["--rate", "5", "--cores", "0"], "'--cores': Input should be greater than"),
        (["--rate", "5", "--headroom", "-1"], "'--headroom': Input should be greater than"),
        (["--rate", "5", "--s3-round-trip", "soon"], "--s3-round-trip: 'soon' is no duration"),
        (["--rate", "5", "--commit", "0"], "--commit: 0 does not lie between"),
        (["--rate", "5", "--image", "wide"], "--image: 'wide' is no size"),
        (["--rate", "5", "--image", "64x64", "--images", "a.jpg"], "--image is not needed"),
        (["--rate", "5", "--images", "gone.jpg"], "--images: image gone.jpg does not exist"),
        (["--rate", "5", "--measurements", "gone.json"], "gone.json cannot be read"),
        (["--rate", "5", "--measurements", "gone.json", "--image", "1080p"], "--image is of the machine that measures"),
        (["--rate", "5", "--image", "64x64", "--latency", "0.1"], "--latency: no number of replicas"),
        (["--rate", "1e9", "--image", "64x64"], "a plan covers 1,000"),
    ],
)
def test_nonsense_is_refused_with_its_name(ask: Ask, arguments: list[str], fact: str) -> None:
    done = ask(*arguments)
    assert done.exit_code == 2
    assert fact in " ".join(done.stderr.replace("│", " ").split())
