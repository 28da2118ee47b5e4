"""Does each hostile record become the jobs or the refusal that its case says?"""

import pytest
from hypothesis import HealthCheck, given, settings

from consumer.errors import Rejected
from consumer.images.names import client_for
from consumer.intake import contents_of
from consumer.messages import Job, Record, encode_dead_letter
from tests.hostile.fuzz import records, try_message
from tests.hostile.message_case import BUCKET, GOOD, MAX_BYTES, MessageCase
from tests.hostile.messages import CASES
from tests.unit.samples import a_letter, a_record

pytestmark = pytest.mark.thorough

MARGIN = 64 * 1024  # as the dead-letters topic has it beyond the jobs topic


def outcomes_of(case: MessageCase) -> tuple[str, ...]:
    """As far as no model and no store are needed."""
    try:
        jobs = contents_of(record_of(case)).jobs
    except Rejected as rejection:
        return (rejection.reason,)
    return tuple(map(outcome_of, jobs))


def outcome_of(job: Job) -> str:
    if job.image.bucket != BUCKET:
        return "bucket_not_allowed"
    try:
        client_for(job.image.bucket, job.image.key)
    except Rejected as rejection:
        return rejection.reason
    return "result" if job.image.key == GOOD else "image_not_found"


def record_of(case: MessageCase) -> Record:
    return a_record(case.value, key=case.key, headers=case.headers)


def test_there_are_as_many_cases_as_are_promised() -> None:
    assert len(CASES) >= 80
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_record_becomes_what_its_case_says(case: MessageCase) -> None:
    found = outcomes_of(case)

    if case.where == "intake":
        assert found == case.outcomes
    else:  # so far it is a job, see tests/integration/test_hostile.py
        assert found in (("result",), ("image_not_found",))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_dead_letter_of_a_hostile_record_fits_its_topic_and_says_why(case: MessageCase) -> None:
    letter = encode_dead_letter(a_letter(record_of(case)), max_bytes=MAX_BYTES + MARGIN)

    assert letter.size <= MAX_BYTES + MARGIN
    assert dict(letter.headers)["inspection-error-reason"] == b"image_not_found"


@settings(max_examples=200, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(records())
def test_any_record_gives_jobs_or_a_refusal(record: Record) -> None:
    try_message(record)
