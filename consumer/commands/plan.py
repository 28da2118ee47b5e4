"""consumer plan: how many partitions and replicas does a rate need, and what of network, store and brokers?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands.asking import a_number, show_page, warn
from consumer.commands.frame import AsJson, SettingsFile, ending, open_settings, write_line
from consumer.errors import SettingsError

if TYPE_CHECKING:
    from rich.table import Table

    from consumer.planning.measurements import Measurements
    from consumer.planning.plan import Load, Plan
    from consumer.settings import Settings

_SIZE = "1080p"


def plan(
    rate: Annotated[
        float, typer.Option(metavar="IMAGES/S", min=0.001, max=1e9, callback=a_number, help="Images a second, in all.")
    ],
    settings: SettingsFile = None,
    *,
    image: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help=f"640x480, 1080p, any WIDTHxHEIGHT: rendered. {_SIZE} unless images are named."
        ),
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Your own: file, folder, quoted pattern, s3://bucket/key. Repeatable."),
    ] = None,
    weights: Annotated[Path | None, typer.Option(metavar="FILE", help="In place of model.weights.")] = None,
    cores: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Of one replica; else those that were measured.")
    ] = None,
    latency: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", min=0.001, max=86_400, callback=a_number, help="What 99 % are to be done within."
        ),
    ] = None,
    headroom: Annotated[
        float, typer.Option(min=0, max=10, callback=a_number, help="Rate above the named one that is still borne.")
    ] = 0.3,
    s3_round_trip: Annotated[str, typer.Option(metavar="TIME", help="From GET to the first byte.")] = "20ms",
    commit: Annotated[
        str, typer.Option(metavar="TIME", help="What the brokers take to commit a transaction.")
    ] = "130ms",
    network: Annotated[
        float, typer.Option(metavar="GBIT/S", min=0.001, max=10_000, callback=a_number, help="Of one replica.")
    ] = 10.0,
    outage: Annotated[
        str, typer.Option(metavar="TIME", help="How long nothing was done, for the catching up.")
    ] = "10min",
    retention_days: Annotated[
        float, typer.Option(metavar="DAYS", min=0.01, max=3650, callback=a_number, help="Of jobs and results.")
    ] = 7.0,
    measurements: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of another machine, in place of measuring on this one.")
    ] = None,
    save_measurements: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep what is measured here for --measurements elsewhere.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say how many partitions and replicas a rate needs, and how much network, store and brokers.

    Plain arithmetic (docs/scaling.md) from what one image costs, which is measured on this machine within some seconds,
    with the weights and settings that a consumer here would run. Nothing is published or joined; no broker is asked.

    Exit codes: 0 there is a plan, 1 measurements that cannot be saved, 2 usage, settings, weights, images,
    measurements, or no number of replicas up to 1,000 will do, 3 the store is not reachable, 5 engine or device,
    130 interrupted.

    Example: consumer plan --rate 5000 --image 1080p --weights best.onnx
    """
    with ending():
        loaded = open_settings(settings, inspects=False)
        from consumer.planning.plan import plan as planned
        from consumer.planning.question import Question, seconds_of, with_settings

        round_trip = seconds_of(s3_round_trip, option="--s3-round-trip", least=0, most=60)
        committing = seconds_of(commit, option="--commit", least=0.001, most=60)
        away = seconds_of(outage, option="--outage", least=0, most=30 * 86_400)
        measured = _measured(loaded, image, images or [], weights, measurements)
        if save_measurements is not None:
            from consumer.planning.measurements import save_measurements as save

            save(measured, save_measurements)
        question = Question(
            rate=rate,
            cores=cores or measured.cores,
            headroom=headroom,
            latency=latency,
            network=network * 1e9,
            retention_days=retention_days,
            s3_round_trip=round_trip,
            commit=committing,
            outage=away,
        )
        found = planned(with_settings(question, loaded), measured)
        if as_json:
            write_line(found)
        else:
            _show(found)


def _measured(
    settings: Settings, size: str | None, names: list[str], weights: Path | None, file: Path | None
) -> Measurements:
    from consumer.planning.measurements import read_measurements
    from consumer.planning.measuring import measure
    from consumer.planning.samples import named_samples, rendered_samples, size_of_name
    from consumer.spotcheck import with_weights

    if file is not None:
        given = {"--image": size, "--images": names, "--weights": weights}
        for option, value in given.items():
            if value:
                raise SettingsError(f"--measurements: {option} is of the machine that measures, {file} has its own")
        return read_measurements(file)
    if names and size:
        raise SettingsError("--images: your own images have their sizes, --image is not needed")
    chosen = None if names else size_of_name(size or _SIZE, settings.images)
    samples = rendered_samples(chosen) if chosen else named_samples(settings, names)
    return measure(with_weights(settings, weights), samples)


# --- for people -----------------------------------------------------------------------------------------------------


def _show(found: Plan) -> None:
    from rich.table import Table

    page = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    page.add_column(style="bold")
    page.add_column()
    for name, text in _lines(found):
        page.add_row(name, text)
    show_page(page)
    show_page(_table(found))
    if found.without_one is None:
        warn("one replica: while it is away nothing is done")
    elif found.without_one > 1:
        warn(f"without one replica the others are asked for {100 * found.without_one:.0f} %: lag grows")


def _lines(found: Plan) -> list[tuple[str, str]]:
    question, measured, load, capacity = found.question, found.measurements, found.load, found.capacity
    work, engine = measured.work, measured.engine
    stages = {"engine": engine.cpu_seconds, "decode": work.decode, "letterbox": work.letterbox, "fetch": work.fetch}
    rest = {"select": work.select, "handover": work.handover}
    cpu = ", ".join(f"{name} {1000 * seconds:.2f}" for name, seconds in {**stages, **rest}.items())
    bounds = ", ".join(f"{name} {bound:.0f}" for name, bound in sorted(capacity.bounds.items(), key=lambda one: one[1]))
    alone = "" if found.without_one is None else f", {100 * found.without_one:.0f} % without one of them"
    lines = {
        "measured": f"{measured.machine}, {measured.cores} cores, {measured.measured_at}",
        "image": f"{measured.images.size}, {measured.images.bytes / 1000:.0f} kB; result {measured.result_bytes} bytes",
        "engine": f"{engine.name}: {engine.engine} in {engine.precision} on {engine.device}, "
        f"{1000 * engine.seconds:.2f} ms an image with {engine.places} places of {engine.max_batch} full",
        "CPU, ms an image": f"{1000 * capacity.cpu_seconds:.2f}: {cpu} (fetch: {work.fetch_source}); "
        f"and {work.standing:g} of a core for each replica",
        "one replica": f"{capacity.rate:.1f} images/s on {question.cores} cores; allowed by {bounds}",
        "its limit": found.advice,
        "replicas": f"{load.replicas}, the busiest used to {100 * found.utilisation:.0f} %{alone}",
        "partitions": f"{load.partitions} of each topic; {found.least_partitions} at the least",
        "network": f"in {_bits(load.bits_in)} ({_bits(load.bits_in / load.replicas)} a replica), "
        f"out {_bits(load.bits_out)} ({_bits(load.bits_out / load.replicas)})",
        "S3": f"{load.gets:.0f} GET/s: {_counted(load.prefixes, 'prefix', 'prefixes')} of 5,500/s",
        "Kafka": f"{load.records:.0f} records/s, {load.record_bytes / 1e6:.2f} MB/s written, "
        f"{load.transactions:.1f} transactions/s with {load.markers:.0f} markers/s; {load.brokers} brokers",
        "broker disks": f"{found.storage_bytes_per_day / 1e9:.2f} GB a day, {found.storage_bytes / 1e9:.1f} GB kept "
        f"for {question.retention_days:g} days, three copies",
        "memory a replica": f"{found.memory_bytes / 2**20:.0f} MiB if every limit of the settings is used to the full",
        "latency": f"99 % within {found.latency:.2f} s when caught up",
        "catching up": f"{_duration(found.catch_up)} after {_duration(question.outage)} of outage",
    }
    return list(lines.items())


def _table(found: Plan) -> Table:
    from rich.table import Table

    table = Table(title=None)
    for name in (
        "replicas",
        "images/s",
        "partitions",
        "Gbit/s in",
        "transactions/s",
        "markers/s",
        "prefixes",
        "brokers",
    ):
        table.add_column(name, justify="right")
    table.add_column("first limit")
    for row in found.table:
        table.add_row(*_cells(row), style="bold" if row.replicas == found.load.replicas else None)
    return table


def _cells(row: Load) -> list[str]:
    counts = [f"{row.replicas}", f"{row.rate:,.0f}", f"{row.partitions}", f"{row.bits_in / 1e9:.2f}"]
    return [
        *counts,
        f"{row.transactions:.0f}",
        f"{row.markers:.0f}",
        f"{row.prefixes}",
        f"{row.brokers}",
        row.first_limit,
    ]


def _bits(number: float) -> str:
    return f"{number / 1e9:.2f} Gbit/s" if number >= 1e9 else f"{number / 1e6:.2f} Mbit/s"


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
