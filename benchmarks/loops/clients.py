"""How do the plain loops consume and produce?"""

import json
from typing import Any

from confluent_kafka import Consumer, Message, Producer

from benchmarks.loops.task import Task


def open_consumer(task: Task) -> Consumer:
    consumer = Consumer(
        {
            "bootstrap.servers": task.bootstrap_servers,
            "group.id": task.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([task.jobs])
    return consumer


def open_producer(task: Task) -> Producer:
    return Producer({"bootstrap.servers": task.bootstrap_servers, "enable.idempotence": True})


def polled(consumer: Consumer, most: int) -> list[Message]:
    """What has arrived, at most so many records; a list waits a tenth of a second for company."""
    if most == 1:
        message = consumer.poll(1.0)
        messages = [] if message is None else [message]
    else:
        messages = consumer.consume(most, 0.1)
    return [message for message in messages if message.error() is None]


def job_of(message: Message) -> dict[str, Any]:
    value = message.value()
    job: dict[str, Any] = json.loads(value or b"")
    return job
