"""consumer model: what weights are, what they become, and what they can do on this machine."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from consumer.commands.frame import AsJson, SettingsFile, console, ending, errors, open_settings, write_line
from consumer.errors import SettingsError

if TYPE_CHECKING:
    from consumer.weighing.agreement import Agreement
    from consumer.weighing.bench import Row
    from consumer.weighing.description import Description

app = typer.Typer(
    name="model", help="Weights: what they are, export, engines side by side, int8.", no_args_is_help=True
)

_ROW = "{:<11}  {:<9}  {:<11}  {:>8}  {:>8}  {:>10}  {:>7}  {:>7}  {:<32}  {}"
_HEADER = ("ENGINE", "PRECISION", "SHAPES", "IMAGES/S", "MS ALONE", "CPU MS/IMG", "START S", "RSS MB", "AGREES", "FILE")


class Target(StrEnum):
    onnx = "onnx"
    openvino = "openvino"
    tensorrt = "tensorrt"


class Head(StrEnum):
    auto = "auto"
    true = "true"
    false = "false"


class Preset(StrEnum):
    mixed = "mixed"
    performance = "performance"


Images = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="File, folder, quoted pattern, s3://bucket/key. Repeatable."),
]
ImageSize = Annotated[
    int | None, typer.Option(min=32, max=8192, help="Side in pixels; else what the weights were trained at.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")]


@app.command()
def info(
    weights: Annotated[Path, typer.Argument(metavar="WEIGHTS", help="A .pt or .onnx file.")], *, as_json: AsJson = False
) -> None:
    """What weights say of themselves, and which engines of this machine can run them.

    An .onnx file is read without any engine; a .pt file takes torch.

    Exit codes: 0 done, 2 no such file, or none that is a YOLO of Ultralytics.

    Example: consumer model info best.onnx
    """
    with ending():
        open_settings(None, inspects=False)
        from consumer.weighing.description import describe

        found = describe(weights)
        if as_json:
            write_line(found)
            return
        for name, text in _lines(found):
            _tell(f"{name:<14}  {text}")


@app.command()
def export(
    weights: Annotated[Path, typer.Argument(metavar="WEIGHTS.pt", help="A .pt file (tensorrt: .onnx too).")],
    settings: SettingsFile = None,
    *,
    to: Annotated[Target, typer.Option(help="What it is for.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The .onnx file; else beside the weights, with their name.")
    ] = None,
    image_size: ImageSize = None,
    static: Annotated[
        bool, typer.Option("--static", help="One image of that size a batch; else any shape and batch.")
    ] = False,
    nms_free: Annotated[Head, typer.Option(help="The NMS-free head; auto: where there is one.")] = Head.auto,
    images: Images = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Make of .pt weights what an engine runs best, in f32.

    onnx: one .onnx file, for openvino, onnxruntime and any other. openvino: the same file, held against torch on a few
    images (--images, else rendered parts) before it takes its place; OpenVINO's own format would be two files of the
    same graph. tensorrt: no file, the engine is built into the cache of model.engine onnxruntime, so that the first
    start need not.

    The digest that is printed is what model.sha256 takes.

    Exit codes: 0 done, 1 openvino finds something else than torch, or the disk is full, 2 usage, weights, a file that
    is there, or nothing installed that could do it, 3 the store of --images is not reachable.

    Example: consumer model export best.pt --to onnx
    """
    with ending():
        loaded = open_settings(settings, inspects=False)
        from consumer.weighing import export as exporting
        from consumer.weighing.samples import named

        if to is Target.tensorrt:
            if out is not None or static or nms_free is not Head.auto or images:
                raise SettingsError("--to tensorrt takes --image-size alone: it fills a cache and writes no file")
            engine = exporting.build_tensorrt(weights, image_size)
            _tell(f"{weights} is built for TensorRT: {engine.model.precision} on {engine.model.device}")
            engine.close()
            return
        wish = exporting.Wish(
            cast(Literal["onnx", "openvino"], to.value),
            image_size,
            static,
            "auto" if nms_free is Head.auto else nms_free is Head.true,
        )
        pictures = named(images, loaded, most=exporting.IMAGES) if images else None
        target = out or weights.with_suffix(".onnx")
        made = exporting.export(weights, target, wish, force=force, images=pictures)
        if as_json:
            write_line(made)
            return
        _tell(f"{made.path}: {'NMS-free' if made.nms_free else 'dense'} head, image size {made.image_size}")
        if made.agreement is not None:
            _tell(f"openvino and torch: {_agreement(made.agreement)}")
        _tell(f"sha256 {made.sha256}")


@app.command()
def bench(
    weights: Annotated[list[Path], typer.Argument(metavar="WEIGHTS", help="One or more .pt and .onnx files.")],
    settings: SettingsFile = None,
    *,
    engines: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="torch, openvino, onnxruntime; else those for the file.")
    ] = None,
    precisions: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME", help="f32, bf16, f16, int8; else f32,bf16, or int8 of an int8 file."),
    ] = None,
    shapes: Annotated[str, typer.Option(metavar="NAME,NAME", help="square, rectangular.")] = "square",
    image_size: ImageSize = None,
    images: Images = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="For each row, in three turns.")] = 9.0,
    as_json: AsJson = False,
) -> None:
    """Engines side by side on this machine: how fast, at what cost, and do they find the same?

    Each row is a process of its own; they take turns, and the numbers are medians. IMAGES/S is with all places full,
    MS ALONE one image when nothing else runs; decoding is in neither. AGREES is with the reference, which is torch in
    f32 where it is among the rows, else the first: the share of detections that have a partner (IoU 0.9 or more), the
    worst IoU and the largest difference of confidence of those. Images are 16 rendered parts unless they are named.

    Exit codes: 0 one row at least has numbers, 1 none has, 2 usage, weights or images, 3 the store is not reachable.

    Example: consumer model bench best.onnx best-int8.onnx --images photos/
    """
    with ending():
        loaded = open_settings(settings, inspects=False)
        from consumer.weighing import bench as benching
        from consumer.weighing.samples import named, rendered

        wanted = benching.combinations(
            weights, engines=_names(engines), precisions=_names(precisions), shapes=_names(shapes) or []
        )
        pictures = list(named(images, loaded, most=_IMAGES)) if images else rendered(_IMAGES)
        rows = benching.bench(wanted, pictures, seconds=seconds, image_size=image_size, report=_note)
        if as_json:
            for row in rows:
                write_line(row)
        else:
            _tell(_ROW.format(*_HEADER))
            for row in rows:
                _tell(_row(row))
        if all(row.reason for row in rows):
            raise typer.Exit(1)


@app.command()
def quantize(
    weights: Annotated[Path, typer.Argument(metavar="WEIGHTS.onnx", help="An f32 .onnx file.")],
    settings: SettingsFile = None,
    *,
    images: Annotated[
        list[str],
        typer.Option(
            metavar="NAME",
            help="Like those to be inspected: file, folder, quoted pattern, s3://bucket/key. Repeatable.",
        ),
    ],
    to: Annotated[Path, typer.Option(metavar="FILE", help="The .onnx file to write.", show_default=False)],
    image_size: ImageSize = None,
    count: Annotated[int, typer.Option(min=1, max=10_000, help="Images to calibrate with, of those there are.")] = 300,
    preset: Annotated[
        Preset, typer.Option(help="mixed: ranges lie where activations do; performance: around zero.")
    ] = Preset.mixed,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Make int8 weights of f32 ones, and say on other images what they find otherwise.

    The file runs in openvino and onnxruntime with model.precision int8 or auto. Only images like those of production
    give the right ranges, at the size that model.image_size will say; a fifth of what is named, 50 at most, is kept to
    compare on.

    Exit codes: 0 done, 1 the disk is full, 2 usage, weights (int8 already, not .onnx), images, a file that is there, or
    NNCF is not installed, 3 the store is not reachable.

    Example: consumer model quantize best.onnx --images photos/ --to best-int8.onnx
    """
    with ending():
        loaded = open_settings(settings, inspects=False)
        from consumer.weighing import quantization

        made = quantization.make_int8(
            weights,
            to,
            images,
            loaded,
            image_size=image_size,
            count=count,
            preset=preset.value,
            force=force,
        )
        for name, reason in made.left_out.items():
            _note(f"left out: {name}: {reason}")
        if made.calibrated_with < quantization.FEW:
            _note(f"warning: {made.calibrated_with} images are few, calibrate with {quantization.FEW} or more")
        if as_json:
            write_line(made)
            return
        _tell(f"{made.path}: int8, {made.bytes / 1e6:.1f} MB")
        _tell(f"calibrated with {made.calibrated_with} images at {made.image_size}")
        _tell(f"int8 and f32 on {made.compared_on} other images: {_agreement(made.agreement)}")
        _tell(f"sha256 {made.sha256}")


_IMAGES = 16


def _lines(found: Description) -> list[tuple[str, str]]:
    height, width = found.image_size
    batch, *sides = found.static_shape or (None, 0, 0)
    shape = "dynamic: any batch and shape"
    if found.static_shape is not None:
        shape = f"static: {sides[0]}x{sides[1]}, {'any' if batch is None else batch} images a batch"
    lines = [
        ("name", found.name),
        ("file", f"{found.path}, {found.bytes / 1e6:.1f} MB"),
        ("sha256", found.sha256),
        ("task", found.task),
        ("classes", f"{len(found.class_names)}: {', '.join(found.class_names)}"),
        ("stride", str(found.stride)),
        ("image size", f"{height}x{width}"),
        ("shape", shape),
        ("head", " and ".join(found.heads)),
        ("precision", found.precision),
        ("quantised", ", ".join(filter(None, (found.quantized_by, found.quantized_from)))),
        ("exported by", ", ".join(filter(None, (found.exporter, found.producer)))),
        ("opset", str(found.opset or "")),
        ("licence", found.licence or "it does not say"),
    ]
    lines += [(engine, reason or "can run it") for engine, reason in found.engines.items()]
    return [(name, text) for name, text in lines if text]


def _row(row: Row) -> str:
    if row.reason is not None:
        return f"{row.engine:<11}  {row.precision:<9}  {row.shapes:<11}  cannot run {row.weights}: {row.reason}"
    return _ROW.format(
        row.engine,
        row.precision,
        row.shapes,
        f"{row.images_per_second:.1f}",
        f"{row.milliseconds_alone:.1f}",
        f"{1000 * (row.cpu_seconds_per_image or 0):.1f}",
        f"{row.start_seconds:.1f}",
        f"{(row.rss_bytes or 0) / 1e6:.0f}",
        "reference" if row.agreement is None else _agreement(row.agreement, is_short=True),
        row.weights,
    )


def _agreement(found: Agreement, *, is_short: bool = False) -> str:
    if found.matched is None:
        return "nothing is found on either side" if is_short else "nothing is found on either side: name other images"
    iou = "-" if found.worst_iou is None else f"{found.worst_iou:.4f}"
    apart = found.largest_confidence_difference
    difference = "-" if apart is None else f"{apart:.4f}"
    if is_short:
        return f"{found.matched:.1%}, IoU {iou}, ±{difference}"
    return (
        f"{found.matched:.1%} of {found.reference_detections} and {found.detections} detections are the same, "
        f"worst IoU {iou}, confidence within {difference}"
    )


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]


def _tell(text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _note(text: str) -> None:
    errors.print(text, markup=False, highlight=False, soft_wrap=True)
