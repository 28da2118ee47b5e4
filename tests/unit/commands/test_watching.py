"""What do results, deadletters and status say to wrong input, and when they cannot tell?"""

import getpass
import os

import pytest
import typer
from typer.testing import CliRunner

from consumer.__main__ import app
from consumer.commands import deadletters
from consumer.commands.frame import ending
from consumer.commands.status import _check
from consumer.errors import CheckFailed
from consumer.kafka.reader import Reader
from consumer.watching.lag import PartitionLag, Standing, total_of


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No broker answers here."""
    monkeypatch.setenv("CONSUMER__KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")


@pytest.mark.parametrize(
    ("command", "fact"),
    [
        ("results tail --since yesterday", "--since: 'yesterday' is no time"),
        ("results tail --reason rain", "--reason: there is no rain; the codes are schema_invalid, "),
        ("results tail --reason schema_invalid --class scratch", "nothing can match"),
        ("results tail --only results --reason schema_invalid", "nothing can match"),
        ("deadletters list --until tomorrow", "--until: 'tomorrow' is no time"),
        ("deadletters list --until earliest", "--until: nothing is earlier"),
        ("deadletters redrive", "nobody can be asked here: add --yes, or --dry-run"),
        ("status --since 5", "--since: '5' is no time"),
    ],
)
def test_a_wrong_argument_is_named_in_one_line(command: str, fact: str) -> None:
    ended = CliRunner().invoke(app, command.split())

    assert ended.exit_code == 2
    assert ended.stderr.startswith(f"error: {fact}")
    assert ended.stderr.count("\n") == 1


@pytest.mark.thorough
@pytest.mark.parametrize(
    "command", ["results tail", "deadletters list", "deadletters show a", "deadletters redrive --yes", "status"]
)
def test_a_broker_that_does_not_answer_is_named_and_3(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reader.__init__, "__kwdefaults__", {"start": "earliest", "timeout": 0.2})

    ended = CliRunner().invoke(app, command.split())

    assert ended.exit_code == 3
    assert ended.stderr.startswith("error: kafka broker 127.0.0.1:1 does not answer")


@pytest.mark.parametrize(
    "command",
    [
        "deadletters list --limit 0",
        "deadletters redrive --yes --rate nan",
        "results tail --min-confidence nan",
        "status --every inf",
        "status --every nan",
        "status --max-lag-seconds nan",
        "topics create --partitions 99999999999",
        "topics create --partitions 1000001",
        "topics create --replication-factor 99999",
    ],
)
def test_a_number_that_is_none_or_beyond_all_is_refused_by_the_name_of_its_option(command: str) -> None:
    ended = CliRunner().invoke(app, command.split())

    assert ended.exit_code == 2
    assert command.split()[-2] in ended.stderr
    assert "Traceback" not in ended.stderr


def a_partition(number: int, *, lag: int | None, oldest: float | None, note: str = "") -> PartitionLag:
    return PartitionLag(number, 0, 9, 9, lag, oldest, None, None, None, note)


def standing(*rows: PartitionLag) -> Standing:
    return Standing("now", "g", "stable", "classic", 1, "jobs", rows, total_of(rows, None), ())


def test_an_age_that_is_not_known_does_not_count_as_well() -> None:
    well = a_partition(0, lag=0, oldest=None)
    pending = a_partition(1, lag=None, oldest=None, note="a delivery is under way")

    _check(standing(well), 10)
    _check(standing(well, pending), None)
    assert standing(well, pending).total.lag is None
    with pytest.raises(CheckFailed, match=r"cannot be told of partitions of jobs: 1 \(a delivery is under way\)"):
        _check(standing(well, pending), 10)
    with pytest.raises(CheckFailed, match=r"cannot be told of partitions of jobs: 2"):
        _check(standing(well, a_partition(2, lag=3, oldest=None)), 10)
    with pytest.raises(CheckFailed, match="is 11 s old, limit 10 s"):
        _check(standing(pending, a_partition(2, lag=3, oldest=11.0)), 10)


def test_a_user_without_a_name_redrives_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr(getpass, "getuser", nobody)

    assert deadletters._user() == str(os.getuid())


def test_ctrl_c_at_the_question_of_a_redrive_ends_as_ctrl_c_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"{typer.confirm.__module__}.visible_prompt_func", interrupt)
    with pytest.raises(typer.Exit) as ended, ending():
        deadletters._is_wanted("Send 3 jobs?")
    assert ended.value.exit_code == 130
