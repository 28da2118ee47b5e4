"""How is a call of librdkafka ended that does not keep its own time-out?"""

import threading
from collections.abc import Callable
from concurrent.futures import Future

GRACE = 1.0  # for a call that comes back by itself, if a little late


class Overrun(Exception):
    """The call did not come back. It is left to itself in its thread, with its client: neither may be used again.
    `answer` is done when it has come back after all."""

    def __init__(self, message: str, answer: "Future[object]") -> None:
        super().__init__(message)
        self.answer = answer


def call_within(seconds: float, call: Callable[[], object], *, name: str) -> None:
    """Make the call in a thread of its own and wait for it for this long and a little more. Raises what it raises."""
    answer: Future[object] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001  # raised again by whoever waits
            answer.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    try:
        answer.result(seconds + GRACE)
    except TimeoutError:
        raise Overrun(f"{name} does not come back", answer) from None
