"""What is a timed program told?

It imports nothing of the consumer: peers run it in their own environments.
"""

import json
import os
from dataclasses import asdict, dataclass
from typing import Self

VARIABLE = "BENCHMARK_TASK"


@dataclass(frozen=True, kw_only=True)
class Task:
    """Where jobs come from, where results go, and how the model is run. `rect` is Ultralytics' word for rectangular
    shapes, `engine` what runs the model where it is ours, `batch` how many images a program may give to the model at
    once, `seconds` how long a bare part runs."""

    bootstrap_servers: str = ""
    jobs: str = ""
    results: str = ""
    group: str = ""
    endpoint_url: str = ""
    bucket: str = ""
    weights: str = ""
    onnx: str = ""
    images: str = ""
    image_size: int = 640
    rect: bool = True
    engine: str = "openvino"
    precision: str = "f32"
    decode: str = "exact"
    batch: int = 1
    threads: int = 1
    seconds: float = 0.0

    @classmethod
    def of_environment(cls) -> Self:
        return cls(**json.loads(os.environ[VARIABLE]))

    @property
    def environment(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(asdict(self))}
