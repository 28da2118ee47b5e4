"""Does the process hold when a bad deploy would drain the topic, and only then?"""

import pytest

from consumer.errors import Reason, TooManyDeadLetters
from consumer.guard import FIRST_JUDGED, WINDOW, DeadLetterGuard
from consumer.settings import LimitSettings

BAD: Reason = "image_not_found"
Reasons = list[Reason | None]


def guard(*, ratio: float = 1.0, run: int = 0) -> DeadLetterGuard:
    return DeadLetterGuard(LimitSettings(dead_letter_ratio=ratio, dead_letter_run=run))


def deliver(guard: DeadLetterGuard, reasons: Reasons) -> None:
    for reason in reasons:
        guard.check([reason])
        guard.note([reason])


def test_as_many_dead_letters_in_a_row_as_the_limit_says_hold_the_process() -> None:
    held = guard(run=3)
    deliver(held, [BAD, BAD])

    with pytest.raises(TooManyDeadLetters, match=r"3 jobs in a row failed \(limits.dead_letter_run\).*image_not_found"):
        held.check([BAD])


def test_a_result_ends_the_run() -> None:
    held = guard(run=3)
    deliver(held, [BAD, BAD, None, BAD, BAD, None])
    held.check([BAD, BAD, None, BAD, BAD])


def test_a_run_within_one_delivery_is_seen_before_it_leaves() -> None:
    with pytest.raises(TooManyDeadLetters):
        guard(run=3).check([None, BAD, BAD, BAD, None])


def test_looking_ahead_notes_nothing() -> None:
    held = guard(run=3)
    for _ in range(10):  # a delivery that is tried again
        held.check([BAD, BAD])
    deliver(held, [BAD, BAD])


def test_jobs_that_expired_count_neither_way() -> None:
    held = guard(run=3, ratio=0.5)
    deliver(held, ["job_expired"] * 2000)
    deliver(held, [BAD, "job_expired", BAD, "job_expired"])

    with pytest.raises(TooManyDeadLetters):
        held.check([BAD])


def test_a_ratio_is_not_judged_on_few_outcomes() -> None:
    held = guard(ratio=0.5)
    deliver(held, [BAD] * (FIRST_JUDGED - 1))

    with pytest.raises(
        TooManyDeadLetters, match=r"200 of the last 200 jobs failed .*ratio 0.5.*, mostly with image_not"
    ):
        held.check([BAD])


def test_exactly_the_ratio_is_allowed_and_one_more_is_not() -> None:
    held = guard(ratio=0.5)
    deliver(held, [None, BAD] * 100)
    deliver(held, [None, BAD] * 100)

    with pytest.raises(TooManyDeadLetters, match="201 of the last 401 jobs failed"):
        held.check([BAD])


def test_only_the_last_outcomes_count_for_the_ratio() -> None:
    held = guard(ratio=0.5)
    deliver(held, [None] * WINDOW)
    deliver(held, [BAD] * (WINDOW // 2))

    with pytest.raises(TooManyDeadLetters, match="501 of the last 1000 jobs failed"):
        held.check([BAD])


@pytest.mark.parametrize("reasons", [[BAD] * 3000, [None, BAD, BAD] * 1000])
def test_both_limits_can_be_switched_off(reasons: Reasons) -> None:
    deliver(guard(ratio=1.0, run=0), reasons)


def test_results_are_never_held_up() -> None:
    held = guard(ratio=0.5)
    deliver(held, [BAD] * (FIRST_JUDGED - 1))
    deliver(held, [None] * FIRST_JUDGED)
    deliver(held, [BAD])


def test_the_most_frequent_reason_is_named() -> None:
    held = guard(ratio=0.5)
    deliver(held, [BAD] * 50)
    deliver(held, ["image_undecodable"] * 140)

    with pytest.raises(TooManyDeadLetters, match="mostly with image_undecodable"):
        held.check([BAD] * 10)
