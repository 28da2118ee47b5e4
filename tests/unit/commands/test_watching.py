"""What do results, deadletters and status say to wrong input?"""

import pytest
from typer.testing import CliRunner

from consumer.__main__ import app
from consumer.kafka.reader import Reader


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


@pytest.mark.parametrize(
    "command", ["results tail", "deadletters list", "deadletters show a", "deadletters redrive --yes", "status"]
)
def test_a_broker_that_does_not_answer_is_named_and_3(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reader.__init__, "__kwdefaults__", {"start": "earliest", "timeout": 0.2})

    ended = CliRunner().invoke(app, command.split())

    assert ended.exit_code == 3
    assert ended.stderr.startswith("error: kafka broker 127.0.0.1:1 does not answer")
