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
    """Make the call in a thread of its own and wait for it for this long and a little more. Raises what it raises.

    Nothing of a call that has come back keeps its client alive: a producer that was let go and lives on gathers
    statistics, up to a megabyte a second.
    """
    answer: Future[object] = Future()
    threading.Thread(target=_answer, args=(call, answer), name=name, daemon=True).start()
    try:
        answer.result(seconds + GRACE)
    except TimeoutError:
        raise Overrun(f"{name} does not come back", answer) from None
    finally:
        del call, answer  # the error knows this frame, and the answer the error: a circle around the client


def _answer(call: Callable[[], object], answer: "Future[object]") -> None:
    try:
        answer.set_result(call())
    except BaseException as error:  # noqa: BLE001  # raised again by whoever waits
        answer.set_exception(error.with_traceback(None))  # which knows this frame: the same circle
