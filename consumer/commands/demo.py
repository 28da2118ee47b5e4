"""consumer demo: render parts of a synthetic production line, or train the weights that inspect them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="demo",
    help="A synthetic production line: parts with known defects, and weights trained on them.",
    no_args_is_help=True,
)

Folder = Annotated[Path, typer.Argument(metavar="OUT_DIR", help="Folder to write to; made if it is missing.")]


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
        raise typer.BadParameter("training needs the torch extra: pip install 'inspection-consumer[torch]'")
    if (folder / "dataset").exists():
        raise typer.BadParameter(f"{folder / 'dataset'} is there already: name another folder")
