"""`python -m tests.accuracy [FILE]`: the matrix of engines against `predict`, as a table in FILE."""

import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from consumer.errors import SettingsError
from tests.accuracy.matrix import Matrix, Way, ways

BEGIN, END = "<!-- begin: python -m tests.accuracy -->", "<!-- end -->"
PACKAGES = ("ultralytics-opencv-headless", "torch", "openvino", "onnxruntime", "nncf")
HEADER = (
    "| family | engine | precision | shapes | decode | detections (predict) | same | worst IoU | confidence within |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)


def main(page: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        matrix = Matrix(Path(folder))
        rows = [row_of(matrix, way) for way in ways()]
    text = page.read_text(encoding="utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{machine()}\n\n{HEADER}{''.join(rows)}{END}{after}", encoding="utf-8")


def row_of(matrix: Matrix, way: Way) -> str:
    print(way.id, file=sys.stderr, flush=True)  # noqa: T201
    try:
        alike = matrix.agreement(way)
    except SettingsError as error:
        answer = f"cannot run here: {error} | | |".replace(f"{way.family.exported.parent}/", "")
    else:
        worst, apart = alike.worst_iou or 0, alike.largest_confidence_difference or 0
        counts = f"{alike.detections} ({alike.reference_detections})"
        answer = f"{counts} | {alike.matched or 0:.1%} | {worst:.5f} | {apart:.1e}"
    size = f"{way.shapes}, {way.image_size}"
    return f"| {way.family.name} | {way.engine} | {way.precision} | {size} | {way.decode} | {answer} |\n"


def machine() -> str:
    cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8") if sys.platform == "linux" else ""
    names = [line.partition(":")[2].strip() for line in cpus.splitlines() if line.startswith("model name")]
    flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_int8") if f" {flag} " in cpus]
    return f"{names[0] if names else platform.processor()} ({', '.join(flags)}); " + ", ".join(
        f"{package} {version(package)}" for package in PACKAGES
    )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/accuracy.md"))
