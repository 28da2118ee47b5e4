"""consumer topics: the three topics, made and compared."""

from typing import Annotated

import typer

from consumer.commands.findings_list import show
from consumer.commands.frame import AsJson, SettingsFile, ending, open_settings

app = typer.Typer(name="topics", help="The topics of jobs, results and dead letters.", no_args_is_help=True)


@app.command()
def create(
    *,
    partitions: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=100_000,
            help="Of each topic. (default: as many as those that exist have, without any: 12)",
        ),
    ] = None,
    replication_factor: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=10_000, help="Copies of each partition. (default: the broker's)"),
    ] = None,
    retention_days: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=100_000, help="How long jobs and results are kept. (default: 7)"),
    ] = None,
    dead_letter_retention_days: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=100_000, help="How long dead letters are kept. (default: 30)"),
    ] = None,
    max_message_bytes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1024,
            max=2_147_000_000,
            help="Of jobs and results; dead letters are allowed 64 KiB more than jobs. (default: the broker's)",
        ),
    ] = None,
    add_partitions: Annotated[
        bool,
        typer.Option(
            "--add-partitions",
            help="Add those that topics lack. Jobs of one key go to other partitions from then on.",
        ),
    ] = False,
    as_json: AsJson = False,
    settings: SettingsFile = None,
) -> None:
    """Create the topics that are missing, all with the same number of partitions.

    A topic that exists is left as it is and compared with what the consumer needs and with the options that are given.
    What differs is named, with what a person must do.

    Exit codes: 0 all topics are there and fit, 1 one differs, 2 arguments, settings, credentials or rights, 3 broker
    not reachable, 130 Ctrl-C.

    Example: consumer topics create --partitions 24 --replication-factor 3
    """
    with ending():
        loaded = open_settings(settings, inspects=False)
        from consumer.checkup.provisioning import Wish, create_topics
        from consumer.kafka.administration import Administration

        wish = Wish(
            partitions,
            replication_factor,
            retention_days,
            dead_letter_retention_days,
            max_message_bytes,
            add_partitions=add_partitions,
        )
        show(create_topics(Administration(loaded), loaded.topics, wish), as_json=as_json)


@app.command()
def check(*, as_json: AsJson = False, settings: SettingsFile = None) -> None:
    """Compare the topics with what the consumer needs: partitions, size limits, clean-up, copies.

    Exit codes: 0 they fit, 1 one is missing or differs, 2 settings, credentials or rights, 3 broker not reachable,
    130 Ctrl-C.

    Example: consumer topics check --json
    """
    with ending():
        loaded = open_settings(settings, inspects=False)
        from consumer.checkup.provisioning import check_topics
        from consumer.kafka.administration import Administration

        show(check_topics(Administration(loaded), loaded.topics), as_json=as_json)
