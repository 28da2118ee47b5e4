"""How fast is Kafka alone: consume, and produce as many results of the usual size in transactions, nothing between?"""

from confluent_kafka import Consumer, Producer

from benchmarks.loops.clients import job_of
from benchmarks.loops.plain import result_of
from benchmarks.loops.task import Task

BOX = (100.0, 100.0, 200.0, 200.0, 0.5, 0.0)
PADDING = 500  # bytes that the consumer's results have more than these: parameters, source, timings


def main() -> None:
    task = Task.of_environment()
    servers = {"bootstrap.servers": task.bootstrap_servers}
    producer = Producer({**servers, "transactional.id": f"{task.group}.kafka-only", "linger.ms": 5})
    producer.init_transactions()
    consumer = Consumer(
        {
            **servers,
            "group.id": task.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    consumer.subscribe([task.jobs])
    while True:
        messages = [message for message in consumer.consume(500, 0.2) if message.error() is None]
        if not messages:
            continue
        producer.begin_transaction()
        for message in messages:
            job = job_of(message)
            job["image"]["padding"] = "x" * PADDING
            producer.produce(task.results, result_of(job, [BOX, BOX], ["none"]), message.key())
        producer.send_offsets_to_transaction(
            consumer.position(consumer.assignment()), consumer.consumer_group_metadata()
        )
        producer.commit_transaction()


main()
