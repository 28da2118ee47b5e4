"""Do the numbers of the demo say what happened?"""

from __future__ import annotations

import json

from consumer.demo.report import BadJob, Report, sizes_of
from consumer.demo.score import Score
from consumer.messages import Timings


def report(*, bad_jobs: tuple[BadJob, ...] = (), milliseconds: tuple[float, ...] = ()) -> Report:
    timings = [Timings(queue=0, fetch=0, decode=0, detect=each, total=2 * each) for each in milliseconds]
    return Report(200, 4.0, 0, timings, {1: 200}, Score(), bad_jobs)


def bad_job(*, reason: str, expected: str) -> BadJob:
    return BadJob("HTML named .jpg", reason, expected, "", "bad/1.jpg", "")


def test_cumulative_bounds_become_counts_of_their_own() -> None:
    assert sizes_of({1: 3, 2: 3, 4: 8, float("inf"): 8}) == {1: 3, 2: 0, 4: 5}
    assert sizes_of({}) == {}


def test_half_of_the_images_took_no_longer_than_the_median() -> None:
    made = report(milliseconds=tuple(range(1, 101)))

    assert (made.milliseconds("detect", 0.5), made.milliseconds("detect", 0.99)) == (51, 100)
    assert made.images_per_second == 50
    assert report().milliseconds("detect", 0.99) == 0


def test_a_bad_job_without_its_dead_letter_or_with_another_reason_is_told() -> None:
    right = bad_job(reason="image_not_found", expected="image_not_found")

    assert report(bad_jobs=(right,)).wrong() == []
    assert report(bad_jobs=(right, bad_job(reason="", expected="schema_invalid"))).wrong() == [
        "the job with the HTML named .jpg became no dead letter, not schema_invalid"
    ]
    assert len(report(bad_jobs=(bad_job(reason="internal_error", expected="schema_invalid"),)).wrong()) == 1


def test_programs_get_the_same_numbers() -> None:
    made = report(bad_jobs=(bad_job(reason="schema_invalid", expected="schema_invalid"),), milliseconds=(3.0,))

    read = json.loads(json.dumps(made.as_json()))

    assert read["images_per_second"] == 50
    assert read["dead_letters"] == {"schema_invalid": 1}
    assert read["batch_sizes"] == {"1": 200}
