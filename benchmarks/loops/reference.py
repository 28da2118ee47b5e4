"""What does `YOLO.predict` find in each image file, one file a call? Prints one line of JSON: rows by file name."""

import json
import sys
from pathlib import Path

from benchmarks.loops.people import Work
from benchmarks.loops.task import Task


def main() -> None:
    task = Task.of_environment()
    work = Work(task)
    found = {}
    for path in sorted(Path(task.images).iterdir()):
        if path.suffix in {".jpg", ".png"}:
            (result,) = work.predict([str(path)])
            found[path.name] = result.boxes.data.tolist()
    sys.stdout.write(json.dumps(found) + "\n")


main()
