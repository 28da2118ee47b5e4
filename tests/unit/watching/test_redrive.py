"""Which dead letters become jobs again, and what do those jobs look like?"""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from consumer.intake import contents_of
from consumer.messages import DeadLetter, Headers, Record, encode_dead_letter
from consumer.outcomes import DeadLetterView, read_dead_letter
from consumer.watching.redrive import JobsLog, Obstacle, Plan, Redriver, Renewed, Rules, judge_all

ANN = Redriver("ann@line-3", datetime(2026, 1, 31, 8, 0, 5, 999_999, tzinfo=UTC))
HEADERS: Headers = (("a", b"\xff\x00"), ("a", None), ("inspection-job-id", b"mine"))
JOB = Record("jobs", 1, 10, 1000, b"\xfe", b'{"x": 1}', HEADERS)
DIGEST = hashlib.sha256(b'{"x": 1}').hexdigest().encode()
LOG = JobsLog({("jobs", 0): 0, ("jobs", 1): 0, ("jobs", 2): 0})


def dead(record: Record = JOB, *, at: int = 5, **changes: Any) -> DeadLetterView:
    letter = DeadLetter(record, "mine", "image_not_found", "fetch", "gone")
    message = encode_dead_letter(replace(letter, **changes))
    return read_dead_letter(Record("dead", 1, at, 2000, message.key, message.value, message.headers))


def plan(*letters: DeadLetterView, log: JobsLog = LOG, **rules: Any) -> Plan:
    return judge_all(letters, log, "jobs", Rules(**rules), ANN)


def renewed(*letters: DeadLetterView, **options: Any) -> Renewed:
    (job,) = plan(*letters, **options).jobs
    return job


def obstacle(*letters: DeadLetterView, **options: Any) -> Obstacle:
    ((_, why),) = plan(*letters, **options).skipped
    return why


def test_a_job_comes_back_as_it_was_and_says_who_when_how_often_and_from_where() -> None:
    job = renewed(dead())

    assert (job.partition, job.key, job.where) == (1, b"\xfe", ("dead", 1, 5))  # its value is read again from there
    assert job.headers[: len(HEADERS)] == HEADERS
    assert dict(job.headers[len(HEADERS) :]) | {"content-type": b""} == {
        "content-type": b"",
        "inspection-redriven-by": b"ann@line-3",
        "inspection-redriven-at": b"2026-01-31T08:00:05Z",
        "inspection-redriven-count": b"1",
        "inspection-redriven-from": b"dead/1/5@2000",
    }


def test_a_second_redrive_replaces_what_the_first_one_said() -> None:
    once = renewed(dead())
    twice = renewed(dead(Record("jobs", 1, 11, 0, once.key, JOB.value, once.headers), at=6))

    told = [header for header in twice.headers if header[0].startswith("inspection-redriven-")]
    assert [name for name, _ in told] == [f"inspection-redriven-{what}" for what in ("by", "at", "count", "from")]
    assert dict(told)["inspection-redriven-count"] == b"2"
    assert dict(told)["inspection-redriven-from"] == b"dead/1/6@2000"


def test_one_job_of_several_keeps_its_id_and_index_and_is_opened_alone() -> None:
    events = [{"s3": {"bucket": {"name": "b"}, "object": {"key": key}}} for key in ("x", "y", "z")]
    parts = [f'{{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {e["s3"]}}}' for e in events]
    value = ('{"Records": [' + ", ".join(parts).replace("'", '"') + "]}").encode()
    job = renewed(dead(Record("jobs", 1, 10, 0, None, value), job_id="jobs/1/10/2", index=2))

    (opened,) = contents_of(Record("jobs", 1, 90, 0, job.key, value, job.headers)).jobs

    assert (opened.image.key, opened.index, opened.job_id) == ("z", 2, "jobs/1/10/2")


def test_jobs_are_sent_in_the_order_in_which_they_were_published() -> None:
    letters = [dead(replace(JOB, offset=offset), at=at) for at, offset in enumerate((30, 10, 20))]

    assert [job.letter.source.offset for job in plan(*letters).jobs] == [10, 20, 30]


def test_a_limit_counts_what_is_sent_not_what_is_left_alone() -> None:
    letters = [dead(replace(JOB, offset=offset), at=offset) for offset in range(4)]
    made = plan(*letters, log=replace(LOG, redriven=frozenset({"dead/1/0@2000"})), limit=2)

    assert [job.letter.source.offset for job in made.jobs] == [1, 2]
    assert made.beyond_limit == 1


def test_what_was_redriven_already_is_sent_again_only_when_asked() -> None:
    log = replace(LOG, redriven=frozenset({"dead/1/5@2000"}))

    assert obstacle(dead(), log=log) == "redriven already"
    assert plan(dead(), log=log, again=True).jobs


def test_a_job_that_goes_round_in_circles_is_left_alone() -> None:
    third = dead(replace(JOB, headers=(("inspection-redriven-count", b"3"),)))

    assert obstacle(third) == "too often"
    assert obstacle(third, again=True) == "too often"
    assert plan(third, max_redrives=4).jobs


def test_a_job_of_another_topic_is_none_of_ours() -> None:
    assert obstacle(dead(replace(JOB, topic="others"))) == "another topic"


@pytest.mark.parametrize(("begin", "is_sent"), [(10, True), (11, True), (12, False)])
def test_where_the_log_does_not_reach_back_nothing_is_sent_unasked(begin: int, is_sent: bool) -> None:
    log = replace(LOG, begins={**LOG.begins, ("jobs", 1): begin})

    assert bool(plan(dead(), log=log).jobs) == is_sent
    assert plan(dead(), log=log, again=True).jobs


def test_an_original_that_was_too_large_is_taken_from_where_it_lay_if_it_is_the_same() -> None:
    without = dead(has_value=False)

    found = renewed(without, log=replace(LOG, originals={(1, 10, DIGEST): JOB}))
    assert (found.key, found.where, found.headers[:3]) == (JOB.key, ("jobs", 1, 10), HEADERS)
    assert obstacle(without) == "original gone"
    other = hashlib.sha256(b"another topic's life").hexdigest().encode()
    assert obstacle(without, log=replace(LOG, originals={(1, 10, other): JOB})) == "original gone"


def test_an_original_without_even_its_headers_keeps_its_name() -> None:
    bare = encode_dead_letter(DeadLetter(JOB, "named", "image_not_found", "fetch", "gone"), max_bytes=1)
    letter = read_dead_letter(Record("dead", 1, 5, 0, bare.key, bare.value, bare.headers))

    job = renewed(letter, log=replace(LOG, originals={(1, 10, DIGEST): replace(JOB, headers=())}))

    assert job.where == ("jobs", 1, 10)
    assert dict(job.headers)["inspection-job-id"] == b"named"


def test_headers_of_a_failure_do_not_come_back_wherever_they_came_from() -> None:
    """Of the second failure, and of the first that somebody published again by hand."""
    forged = (("__connect.errors.topic", b"x"), ("inspection-error-reason", b"y"), ("inspection-original-bytes", b"1"))

    names = {name for name, _ in renewed(dead(replace(JOB, headers=forged))).headers}

    assert not [name for name in names if name.startswith(("__connect", "inspection-error", "inspection-original"))]


def test_a_partition_that_the_topic_no_longer_has_folds_onto_one_that_it_has() -> None:
    assert renewed(dead(replace(JOB, partition=7))).partition == 1


def test_the_same_place_of_a_topic_that_was_made_anew_is_another_dead_letter() -> None:
    assert plan(dead(), log=replace(LOG, redriven=frozenset({"dead/1/5@1999"}))).jobs
