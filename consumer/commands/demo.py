"""consumer demo: render parts of a synthetic production line, or train the weights that inspect them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from consumer.commands.frame import AsJson, console, ending, errors, write_line
from consumer.errors import SettingsError

app = typer.Typer(
    name="demo",
    help="Everything at work on a synthetic production line; without a command: `consumer demo run`.",
)

EMBEDDED_REPLICAS, REAL_REPLICAS = 1, 3

Folder = Annotated[Path, typer.Argument(metavar="OUT_DIR", help="Folder to write to; made if it is missing.")]


@app.callback(invoke_without_command=True)
def demo(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        context.invoke(run)


@app.command()
def run(
    *,
    parts: Annotated[int, typer.Option(min=1, max=10_000, help="How many parts to render and inspect.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Which line: the same seed gives the same parts.")] = 7,
    replicas: Annotated[
        int | None, typer.Option(min=1, max=4, help="Consumer processes; default: 1, with a broker of yours 3.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Gets index.html and results.jsonl.")] = Path("runs/demo"),
    keep_running: Annotated[
        bool, typer.Option("--keep-running", help="Stay until Ctrl-C and say how to look around.")
    ] = False,
    bootstrap_servers: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="A Kafka of yours, exactly_once; TLS and SASL: CONSUMER__KAFKA__EXTRA."),
    ] = None,
    bucket: Annotated[
        str | None, typer.Option(metavar="NAME", help="A bucket of yours, with AWS's usual credentials.")
    ] = None,
    s3_endpoint: Annotated[str | None, typer.Option(metavar="URL", help="Where that bucket is, if not on AWS.")] = None,
    json: AsJson = False,
) -> None:
    """Render parts with known defects, upload them, publish a job for each and some bad ones, inspect them with real
    consumers, and show what came of it: a table, and a page with every picture.

    Without options it needs nothing: the broker is librdkafka's mock cluster, delivery is at_least_once, the store is
    SeaweedFS. On a broker or in a bucket of yours it makes topics and objects with a name of their own, and deletes
    them at the end.

    Exit codes: 0 done, 1 something was not as it must be, 2 usage or settings, 3 broker or store not reachable,
    130 Ctrl-C.

    Example: consumer demo run --parts 50 --replicas 2 --keep-running
    """
    with ending():
        if s3_endpoint and not bucket:
            raise SettingsError("--s3-endpoint needs --bucket")
        from consumer.demo.show import Show  # here, so that help is quick
        from consumer.showcase.showcase import Plan, run_demo
        from consumer.showcase.surroundings import Wish

        wish = Wish(bootstrap_servers, s3_endpoint, bucket)
        count = replicas or (REAL_REPLICAS if bootstrap_servers else EMBEDDED_REPLICAS)
        plan = Plan(parts, seed, count, out, wish, keeps_running=keep_running)
        report = run_demo(plan, Show(errors if json else console))
        if json:
            write_line(report.as_json())


@app.command()
def render(
    folder: Folder,
    count: Annotated[int, typer.Option(min=1, help="How many parts.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Which line: the same seed gives the same parts.")] = 0,
) -> None:
    """Write parts as JPEG files, each beside a JSON file with its true defects.

    Example: consumer demo render parts/ --count 100 --seed 7
    """
    from consumer.demo.dataset import write_images

    write_images(folder, seed=seed, count=count)
    typer.echo(f"{count} parts of line {seed} in {folder}")


@app.command()
def train(
    folder: Folder,
    images: Annotated[int, typer.Option(min=1, help="How many rendered parts to train on.")] = 2400,
    epochs: Annotated[int, typer.Option(min=2, help="How often to see each of them.")] = 12,
    seed: Annotated[int, typer.Option(min=0, help="Which lines are rendered.")] = 1,
) -> None:
    """Render a data set, train YOLO26n on it from scratch, and write parts-yolo26n.pt and .onnx. Needs the torch extra.

    The defaults are the recipe of the weights that ship with this package (about an hour on two cores).

    Example: consumer demo train /tmp/parts --epochs 5
    """
    _check_room_for_training(folder)
    from consumer.demo.dataset import write_dataset
    from consumer.detection import shipping, training

    recipe = training.Recipe(epochs=epochs)
    weights, exported = folder / "parts-yolo26n.pt", folder / "parts-yolo26n.onnx"
    described = write_dataset(folder / "dataset", seed=seed, counts={"train": images, "val": 200, "test": 300})
    best = training.train(described, recipe, folder / "run", typer.echo)
    shipping.ship_pytorch(best, weights, image_size=recipe.image_size)
    shipping.ship_onnx(weights, exported, image_size=recipe.image_size, nms_free=True, dynamic=True)
    for name, row in training.measure(weights, described, recipe).items():
        typer.echo(f"{name:14}" + "  ".join(f"{metric} {value:.3f}" for metric, value in row.items()))


def _check_room_for_training(folder: Path) -> None:
    """Refuse in the first second what would else fail after minutes of rendering."""
    if find_spec("ultralytics") is None:
        raise typer.BadParameter("training needs the torch extra: pip install '.[torch]' in a checkout")
    if (folder / "dataset").exists():
        raise typer.BadParameter(f"{folder / 'dataset'} is there already: name another folder")
