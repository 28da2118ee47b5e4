"""LitServe around `predict`: a server that gathers requests into batches. `python -m … PORT`."""

import sys
from typing import Any

import litserve  # type: ignore[import-not-found]

from benchmarks.loops.people import Work
from benchmarks.loops.plain import result_of
from benchmarks.loops.task import Task

BATCH_TIMEOUT = 0.01


class Inspect(litserve.LitAPI):  # type: ignore[misc]
    """A request is a job, the response its result; images of one batch go through one call of `predict`."""

    def setup(self, _: str) -> None:
        self.work = Work(Task.of_environment())

    def decode_request(self, request: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        return request, self.work.image_of(request)

    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs

    def unbatch(self, output: list[Any]) -> list[Any]:
        return output

    def predict(self, inputs: list[tuple[dict[str, Any], Any]]) -> list[dict[str, Any]]:
        found = self.work.predict([image for _, image in inputs])
        return [
            {"result": result_of(job, one.boxes.data.tolist(), list(one.names.values())).decode()}
            for (job, _), one in zip(inputs, found, strict=True)
        ]

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


def main() -> None:
    task = Task.of_environment()
    server = litserve.LitServer(Inspect(max_batch_size=task.batch, batch_timeout=BATCH_TIMEOUT), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
