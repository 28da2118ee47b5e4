"""Does one line come out for each event, for machines or for people, from every library?"""

import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from consumer.logs import configure
from consumer.settings import LoggingSettings


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Screen:
    """What went to stderr; it is no terminal."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    @property
    def lines(self) -> list[str]:
        return self._capsys.readouterr().err.splitlines()


@pytest.fixture
def screen(capsys: pytest.CaptureFixture[str]) -> Iterator[Screen]:
    """The root logger is as before afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield Screen(capsys)
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def settings(**changes: Any) -> LoggingSettings:
    return LoggingSettings.model_validate(changes)


def test_away_from_a_terminal_a_line_is_a_json_object(screen: Screen) -> None:
    configure(settings())
    logging.getLogger("consumer.runner").info("partitions %s", "assigned", extra={"partitions": [0, 1], "why": None})

    (line,) = screen.lines
    fields = json.loads(line)
    assert fields.pop("time").startswith("20")
    assert fields == {
        "level": "INFO",
        "logger": "consumer.runner",
        "message": "partitions assigned",
        "partitions": [0, 1],
        "why": None,
    }


def test_on_a_terminal_a_line_can_be_read(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    configure(settings())
    logging.getLogger("consumer.runner").info("partitions %s", "assigned", extra={"partitions": [0, 1]})

    (line,) = terminal.getvalue().splitlines()
    assert line[8:] == " INFO consumer.runner partitions assigned  partitions=[0, 1]"


@pytest.mark.parametrize(("chosen", "is_json"), [("json", True), ("text", False)])
def test_the_format_can_be_chosen(screen: Screen, chosen: str, *, is_json: bool) -> None:
    configure(settings(format=chosen))
    logging.getLogger("x").warning("hello")

    assert screen.lines[0].startswith("{") == is_json


def test_a_traceback_stays_within_its_json_line(screen: Screen) -> None:
    configure(settings(format="json"))
    try:
        json.loads("by nought\nand on")
    except ValueError:
        logging.getLogger("x").exception("a bug", extra={"odd": {1, 2}, "path": object})

    (line,) = screen.lines
    assert "JSONDecodeError: Expecting value: line 1" in json.loads(line)["exc_info"]


def test_the_level_is_what_the_settings_say(screen: Screen) -> None:
    configure(settings(level="WARNING"))
    logging.getLogger("consumer").info("no")
    logging.getLogger("consumer").warning("yes")

    assert [json.loads(line)["message"] for line in screen.lines] == ["yes"]


def test_chatty_libraries_are_heard_from_warnings_on(screen: Screen) -> None:
    configure(settings(level="DEBUG"))
    for name in ("botocore.hooks", "urllib3.connectionpool", "PIL.Image", "librdkafka"):
        logging.getLogger(name).debug("chat")
        logging.getLogger(name).warning("trouble")

    told = [(fields["logger"], fields["message"]) for fields in map(json.loads, screen.lines)]
    assert told == [
        ("botocore.hooks", "trouble"),
        ("urllib3.connectionpool", "trouble"),
        ("PIL.Image", "trouble"),
        ("librdkafka", "chat"),
        ("librdkafka", "trouble"),
    ]


def test_warnings_of_packages_come_the_same_way(screen: Screen) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure(settings())
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    assert "DeprecationWarning: old" in json.loads(screen.lines[0])["message"]


def test_configuring_twice_writes_each_line_once(screen: Screen) -> None:
    configure(settings())
    configure(settings())
    logging.getLogger("x").warning("hello")

    assert len(screen.lines) == 1
