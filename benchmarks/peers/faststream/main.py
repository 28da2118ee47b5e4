"""FastStream around `predict`: a batch subscriber and a batch publisher."""

import asyncio
from typing import Any

from faststream import AckPolicy, FastStream  # type: ignore[import-not-found]
from faststream.confluent import KafkaBroker  # type: ignore[import-not-found]

from benchmarks.loops.people import Work
from benchmarks.loops.task import Task


def main() -> None:
    task = Task.of_environment()
    work = Work(task)
    broker = KafkaBroker(task.bootstrap_servers)

    @broker.publisher(task.results, batch=True)  # type: ignore[untyped-decorator]
    @broker.subscriber(  # type: ignore[untyped-decorator]
        task.jobs,
        group_id=task.group,
        auto_offset_reset="earliest",
        batch=True,
        max_records=task.batch,
        ack_policy=AckPolicy.NACK_ON_ERROR,
    )
    def inspect(jobs: list[dict[str, Any]]) -> list[bytes]:  # in a thread, since it is no coroutine
        return work.results_of(jobs)

    asyncio.run(FastStream(broker).run())


main()
