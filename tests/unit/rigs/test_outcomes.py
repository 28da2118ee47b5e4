"""Does the verdict see what it is there to see? It judges the proofs, so it is judged first."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rigs.outcomes import Outcome, Source, judge

pytestmark = pytest.mark.thorough

OUTPUTS = ("results", "dead-letters")


@st.composite
def clean_run(draw: st.DrawFn) -> tuple[list[Source], list[Outcome]]:
    """Jobs with gaps in their offsets and up to two a record; outcomes on two topics, collected in any order."""
    jobs = []
    for partition in range(draw(st.integers(1, 4))):
        for offset in sorted(draw(st.sets(st.integers(0, 50), min_size=2, max_size=12))):
            jobs += [Source("jobs", partition, offset, index) for index in range(draw(st.integers(1, 2)))]
    ends = {(topic, partition): 0 for topic in OUTPUTS for partition in range(4)}
    seen = []
    for job in jobs:
        topic = draw(st.sampled_from(OUTPUTS))
        ends[topic, job.partition] += draw(st.integers(1, 3))
        seen.append(outcome(topic, job.partition, ends[topic, job.partition], job))
    return jobs, draw(st.permutations(seen))


def outcome(topic: str, partition: int, offset: int, source: Source) -> Outcome:
    return Outcome(topic, partition, offset, source, key=None, value=b"{}", headers=())


@given(clean_run())
def test_one_outcome_each_in_order_is_clean(run: tuple[list[Source], list[Outcome]]) -> None:
    assert judge(*run).is_clean


@given(clean_run(), st.data())
def test_exactly_the_jobs_without_outcome_are_lost(
    run: tuple[list[Source], list[Outcome]], data: st.DataObject
) -> None:
    jobs, seen = run
    missing = data.draw(st.sets(st.sampled_from(jobs), min_size=1))

    verdict = judge(jobs, [outcome for outcome in seen if outcome.source not in missing])

    assert set(verdict.lost) == missing
    assert not verdict.is_clean


@given(clean_run(), st.data(), st.sampled_from(OUTPUTS))
def test_a_second_outcome_is_a_duplicate_on_either_topic(
    run: tuple[list[Source], list[Outcome]], data: st.DataObject, topic: str
) -> None:
    jobs, seen = run
    twice = data.draw(st.sampled_from(jobs))

    verdict = judge(jobs, [*seen, outcome(topic, twice.partition, 1_000, twice)])

    assert verdict.duplicated == (twice,)
    assert not verdict.is_clean


@given(clean_run(), st.data())
def test_an_outcome_of_no_published_job_is_unknown(
    run: tuple[list[Source], list[Outcome]], data: st.DataObject
) -> None:
    jobs, seen = run
    stranger = data.draw(st.sampled_from(jobs))

    verdict = judge([job for job in jobs if job != stranger], seen)

    assert verdict.unknown == (stranger,)
    assert not verdict.is_clean


@given(clean_run(), st.data())
def test_two_outcomes_that_changed_places_are_out_of_order(
    run: tuple[list[Source], list[Outcome]], data: st.DataObject
) -> None:
    jobs, _ = run
    one_topic = [outcome("results", job.partition, at, job) for at, job in enumerate(jobs)]
    neighbours = [at for at, (job, later) in enumerate(pairwise(jobs)) if job.partition == later.partition]
    early = data.draw(st.sampled_from(neighbours))
    one_topic[early] = outcome("results", jobs[early].partition, early + 1, jobs[early])
    one_topic[early + 1] = outcome("results", jobs[early].partition, early, jobs[early + 1])

    verdict = judge(jobs, data.draw(st.permutations(one_topic)))

    assert verdict.out_of_order == (jobs[early],)
    assert not verdict.is_clean


@given(clean_run(), st.data())
def test_an_input_partition_on_two_output_partitions_is_scattered(
    run: tuple[list[Source], list[Outcome]], data: st.DataObject
) -> None:
    jobs, _ = run
    one_topic = [outcome("results", job.partition, at, job) for at, job in enumerate(jobs)]
    strayed = data.draw(st.integers(0, len(jobs) - 1))
    one_topic[strayed] = outcome("results", 99, strayed, jobs[strayed])

    verdict = judge(jobs, one_topic)

    assert verdict.scattered == (("jobs", jobs[strayed].partition),)
    assert not verdict.is_clean
