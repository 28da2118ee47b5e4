"""Is the plan's formula for jobs in hand near to what the runner's loop would do?"""

import heapq
from collections import deque

import pytest

from consumer.planning.capacity import capacity_of
from consumer.planning.plan import EARLY_DELIVERY
from consumer.planning.question import Question
from tests.unit.planning.test_plan import measurements

STEP = 0.001
SECONDS = 40.0
WORK = 0.007  # of CPU in tests/unit/planning/test_plan.py's measurements


def simulated(asked: Question, engine: float, batch: float) -> float:
    """Images a second of a loop that admits, and delivers when the interval is over, and does nothing else meanwhile.
    The engine takes one image after the other."""
    fetching: list[float] = []
    working: deque[float] = deque()
    in_hand = finished = delivering = done = 0
    engine_free = busy_until = 0.0
    delivered_at = -1.0
    for moment in range(round(SECONDS / STEP)):
        now = moment * STEP
        while fetching and fetching[0] <= now:
            heapq.heappop(fetching)
            engine_free = max(engine_free, now) + 1 / engine
            working.append(engine_free + WORK + batch)
        while working and working[0] <= now:
            working.popleft()
            finished += 1
        if now < busy_until:
            continue
        in_hand -= delivering
        done += delivering if now > SECONDS / 4 else 0
        delivering = 0
        while in_hand < asked.max_in_flight:
            heapq.heappush(fetching, now + asked.s3_round_trip)
            in_hand += 1
        is_due = now - delivered_at >= asked.delivery_interval or finished >= EARLY_DELIVERY
        if finished and is_due:
            delivering, finished, delivered_at, busy_until = finished, 0, now, now + asked.commit
    return done / (SECONDS * 3 / 4)


@pytest.mark.parametrize(
    ("jobs", "engine", "round_trip", "commit"),
    [
        (8, 160, 0.002, 0.04),
        (32, 200, 0.08, 0.13),
        (64, 5000, 0.08, 0.13),
        (256, 40, 0.02, 0.13),
        (256, 700, 0.02, 0.13),
        (256, 2000, 0.02, 0.13),
        (256, 2000, 0.08, 0.05),
        (1024, 2000, 0.02, 0.13),
    ],
)
def test_a_plan_is_near_to_a_simulation_of_the_loop(jobs: int, engine: float, round_trip: float, commit: float) -> None:
    asked = Question(
        rate=1, cores=1000, max_in_flight=jobs, s3_round_trip=round_trip, commit=commit, network=1e12, headroom=0
    )
    measured = measurements(seconds=1 / engine, cpu_seconds=0.0, batch_seconds=0.03)
    assert 0.7 <= capacity_of(asked, measured).rate / simulated(asked, engine, 0.03) <= 1.15
