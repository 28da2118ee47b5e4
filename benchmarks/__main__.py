"""How fast is it, beside what else there is? `python -m benchmarks --help`."""

import argparse
import datetime
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import machine, peers, plot, programs, table
from benchmarks.cases import GROUPS, MAIN, Case, all_cases, selected
from benchmarks.run import Results
from benchmarks.samples import Failure, Sample
from benchmarks.servers import Servers
from benchmarks.trial import PARTITIONS, Bench
from benchmarks.workload import COUNT, SIZES
from consumer.cores import available_cores

HERE = Path(__file__).parent
RESULTS = HERE / "results"
CACHE = HERE.parent / ".cache" / "benchmarks" / "images"


def main() -> int:
    asked = _arguments()
    if asked.render:
        _write(Results.read(asked.render), asked.render)
        return 0
    try:
        cases = selected(
            all_cases(
                trickle=asked.trickle,
                int8=_absolute(asked.int8),
                image_size=asked.image_size,
                shapes=asked.shapes,
            ),
            asked.only.split(","),
            filter(None, asked.sizes.split(",")),
        )
    except ValueError as error:
        sys.stderr.write(f"--only: {error}\n")
        return 2
    if asked.list:
        print(*(f"{case.group:13}{case.key}" for case in cases), sep="\n")
        return 0
    programs.adopt_orphans()
    folder = Path(tempfile.mkdtemp(prefix="inspection-bench-"))
    file = RESULTS / f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}-{asked.name}.json"
    with Servers(folder, CACHE) as servers:
        results = Results(_about(asked, cases, servers))
        bench = Bench(servers, folder, asked.seconds, asked.images)
        try:
            for number in range(asked.rounds):
                for case in cases:
                    _measure(results, bench, case, number)
                _write(results, file)
        except KeyboardInterrupt:
            print("stopped; what was measured is written")
        _write(results, file)
    shutil.rmtree(folder, ignore_errors=True)
    print(table.page(results))
    print(f"written: {file} and {file.with_suffix('.md')}")
    return 0


def _measure(results: Results, bench: Bench, case: Case, number: int) -> None:
    began = time.monotonic()
    try:
        found: Sample | Failure = bench.measure(case)
    except Exception as error:  # noqa: BLE001  # whatever keeps a case from its numbers is its row
        found = Failure(reason=" ".join(f"{error}".split())[:300] or type(error).__name__)
    results.add(case, number, found)
    said = f"{found.rate:8.1f} images/s" if isinstance(found, Sample) else found.reason
    print(f"round {number + 1}  {case.key:60} {said}  [{time.monotonic() - began:.0f} s]", flush=True)


def _write(results: Results, file: Path) -> None:
    """JSON, Markdown and, where there is something to draw, a picture."""
    results.write(file)
    page = table.page(results)
    drawn = plot.svg(results)
    if drawn is not None:
        file.with_suffix(".svg").write_text(drawn, encoding="utf-8")
        page = page.replace("\n## ", f"\n![images/s]({file.with_suffix('.svg').name})\n\n## ", 1)
    file.with_suffix(".md").write_text(page, encoding="utf-8")


def _about(asked: argparse.Namespace, cases: list[Case], servers: Servers) -> dict[str, Any]:
    used = {case.name: case.program for case in cases if case.kind == "peer"}
    return {
        "name": asked.name,
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
        "rounds": asked.rounds,
        "seconds": asked.seconds,
        "cores": available_cores(),
        "machine": machine.machine(),
        "versions": machine.versions(
            servers.kafka.description, ((name, f"({peers.versions(folder)})") for name, folder in used.items())
        ),
        "weights": machine.weights(),
        "settings": {
            "image_size": asked.image_size,
            "confidence": 0.25,
            "head": "NMS-free",
            "threads": f"{available_cores()} for torch, OpenVINO (THROUGHPUT) and decoding each",
            "partitions": PARTITIONS,
            "images": f"{COUNT} a workload",
            "all else of the consumer": "as installed",
        },
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--only", default=",".join(MAIN), help=f"groups ({', '.join(GROUPS)}), names of cases, or all")
    parser.add_argument("--sizes", default="", help=f"only these sizes of images: {', '.join(SIZES)}")
    parser.add_argument("--image-size", type=int, default=640, help="the model's longer side, a multiple of 32 pixels")
    parser.add_argument("--shapes", choices=("rectangular", "square"), default="rectangular", help="%(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="how often each case is measured, in turns")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each case is measured in a round")
    parser.add_argument("--images", type=int, default=20_000, help="no more than these in one measurement")
    parser.add_argument("--trickle", type=float, default=5.0, help="images a second of the latency cases")
    parser.add_argument("--int8", type=Path, help="quantised .onnx of the same network: adds its cases")
    parser.add_argument("--name", default="bench", help="of the files in benchmarks/results/")
    parser.add_argument("--quick", action="store_true", help="two minutes: one round of the main cases at 640x480")
    parser.add_argument("--list", action="store_true", help="say which cases would run")
    parser.add_argument("--render", type=Path, help="write the page of a JSON file of results again")
    asked = parser.parse_args()
    if asked.quick:
        asked.rounds, asked.seconds, asked.sizes = 1, 2.0, asked.sizes or "640x480"
        asked.name = "quick" if asked.name == "bench" else asked.name
    return asked


def _absolute(file: Path | None) -> str:
    return "" if file is None else str(file.resolve())


if __name__ == "__main__":
    sys.exit(main())
