"""Ray Serve behind a consumer: one replica that gathers requests into batches, then produce, flush and commit."""

import os
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # else it reports to its makers

import ray  # type: ignore[import-not-found]
from ray import serve

from benchmarks.loops.clients import job_of, open_consumer, open_producer, polled
from benchmarks.loops.people import Work
from benchmarks.loops.task import Task

BATCH_TIMEOUT = 0.01


@serve.deployment(num_replicas=1, max_ongoing_requests=64, ray_actor_options={"num_cpus": 1})
class Inspect:
    """Images of one batch go through one call of `predict`."""

    def __init__(self, task: Task) -> None:
        self._work = Work(task)

    @serve.batch(max_batch_size=16, batch_wait_timeout_s=BATCH_TIMEOUT)  # type: ignore[untyped-decorator]
    async def __call__(self, jobs: list[dict[str, Any]]) -> list[bytes]:
        return self._work.results_of(jobs)


def main() -> None:
    task = Task.of_environment()
    ray.init(num_cpus=task.threads, include_dashboard=False, logging_level="warning")
    inspect = serve.run(Inspect.bind(task))  # type: ignore[attr-defined]
    consumer, producer = open_consumer(task), open_producer(task)
    while True:
        messages = polled(consumer, task.batch)
        if not messages:
            continue
        answers = [inspect.remote(job_of(message)) for message in messages]
        for message, answer in zip(messages, answers, strict=True):
            producer.produce(task.results, answer.result(), message.key())
        producer.flush()
        consumer.commit(asynchronous=False)


if __name__ == "__main__":
    main()
