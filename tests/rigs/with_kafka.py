"""How is one command run with the Kafka of the tests: `python -m tests.rigs.with_kafka COMMAND … {} …`?"""

import signal
import sys
from types import FrameType

import typer

from consumer.leash import kill, spawn
from tests.rigs.kafka import KafkaUnavailable, kafka_source, open_kafka

ADDRESS = "{}"  # this argument of the command becomes the broker's address


def main(arguments: list[str]) -> int:
    """Returns the command's exit code. SIGINT and SIGTERM are the command's, the broker ends after it."""
    try:
        typer.echo(f"starting {kafka_source()}")
        with open_kafka() as kafka:
            command = [kafka.bootstrap_servers if argument == ADDRESS else argument for argument in arguments]
            return _run(command)
    except (KafkaUnavailable, RuntimeError, TimeoutError) as error:
        typer.echo(f"error: {error}", err=True)
        return 2
    except KeyboardInterrupt:
        typer.echo("error: interrupted", err=True)
        return 130


def _run(command: list[str]) -> int:
    process = spawn(command, log=None)

    def forward(number: int, _: FrameType | None) -> None:
        process.send_signal(signal.Signals(number))

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        kill(process)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
