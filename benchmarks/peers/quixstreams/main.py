"""Quix Streams around `predict`: one message at a time, as its dataframes work; it commits every five seconds."""

from quixstreams import Application  # type: ignore[import-not-found]

from benchmarks.loops.people import Work
from benchmarks.loops.task import Task


def main() -> None:
    task = Task.of_environment()
    work = Work(task)
    application = Application(
        broker_address=task.bootstrap_servers,
        consumer_group=task.group,
        auto_offset_reset="earliest",
        auto_create_topics=False,
    )
    jobs = application.topic(task.jobs, value_deserializer="json")
    results = application.topic(task.results, value_serializer="bytes")
    frame = application.dataframe(jobs).apply(lambda job: work.results_of([job])[0])
    frame.to_topic(results)
    application.run()


main()
