"""LitServe behind a consumer: as many requests at once as a batch holds, then produce, flush and commit."""

import http.client
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.loops.clients import job_of, open_consumer, open_producer, polled
from benchmarks.loops.task import Task
from consumer.demo.ports import free_port
from consumer.leash import spawn

_START_SECONDS = 120


class Server:
    """The server's process, and a connection to it for each thread."""

    def __init__(self) -> None:
        self._port = free_port()
        self._in_thread = threading.local()
        command = [sys.executable, "-m", "benchmarks.peers.litserve.server", str(self._port)]
        self.process = spawn(command, log=Path("litserve.log"))

    def wait(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
                connection.request("GET", "/health")
                if connection.getresponse().status == http.HTTPStatus.OK:
                    return
            except OSError:
                pass
            if time.monotonic() > end or self.process.poll() is not None:
                raise TimeoutError("LitServe is not healthy: " + Path("litserve.log").read_text()[-300:])
            time.sleep(0.2)

    def ask(self, job: dict[str, Any]) -> bytes:
        """Over the thread's last connection, or a new one where the server has closed that for being idle."""
        try:
            return self._ask_once(job)
        except (ConnectionError, http.client.HTTPException):
            del self._in_thread.connection
            return self._ask_once(job)

    def _ask_once(self, job: dict[str, Any]) -> bytes:
        if not hasattr(self._in_thread, "connection"):
            self._in_thread.connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        connection = self._in_thread.connection
        connection.request("POST", "/predict", json.dumps(job), {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
        result: str = answer["result"]
        return result.encode()


def main() -> None:
    task = Task.of_environment()
    server = Server()
    server.wait()
    consumer, producer = open_consumer(task), open_producer(task)
    pool = ThreadPoolExecutor(task.batch)
    while True:
        messages = polled(consumer, task.batch)
        if not messages:
            continue
        results = list(pool.map(server.ask, map(job_of, messages)))
        for message, result in zip(messages, results, strict=True):
            producer.produce(task.results, result, message.key())
        producer.flush()
        consumer.commit(asynchronous=False)


if __name__ == "__main__":
    main()
