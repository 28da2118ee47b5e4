"""What people write: poll, boto3, imdecode, `YOLO.predict`, produce, flush, commit; one message or a list at a time."""

from benchmarks.loops.clients import job_of, open_consumer, open_producer, polled
from benchmarks.loops.people import Work
from benchmarks.loops.task import Task


def main() -> None:
    task = Task.of_environment()
    work = Work(task)
    consumer, producer = open_consumer(task), open_producer(task)
    while True:
        messages = polled(consumer, task.batch)
        if not messages:
            continue
        results = work.results_of([job_of(message) for message in messages])
        for message, result in zip(messages, results, strict=True):
            producer.produce(task.results, result, message.key())
        producer.flush()
        consumer.commit(asynchronous=False)


main()
