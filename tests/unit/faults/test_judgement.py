"""Does the verdict over a cell turn red for whatever breaks a promise? It judges the proof, so it is judged first."""

from dataclasses import replace

import pytest

from tests.faults.jobs import Draft
from tests.faults.judgement import Evidence, Judgement, judge_cell, known_by
from tests.rigs.outcomes import Outcome, Source

RESULTS, DEAD_LETTERS = "results", "dead-letters"
JOBS = [Source("jobs", partition, offset) for offset in range(5) for partition in range(2)]
BAD = JOBS[3]
PRINTS = {job: "=77" if job == BAD else f"{number} a.jpg" for number, job in enumerate(JOBS)}


def outcome(
    job: Source, *, reason: str | None = None, content: str | None = None, offset: int | None = None
) -> Outcome:
    """What CompactReader keeps; the offsets of outcomes are sparse, as those of transactions are."""
    print_ = content or PRINTS[job]
    value = print_ if reason else f"{print_}\n42"
    return Outcome(
        topic=DEAD_LETTERS if reason else RESULTS,
        partition=job.partition,
        offset=2 * job.offset + 1 if offset is None else offset,
        source=job,
        key=None,
        value=value.encode(),
        headers=(("inspection-error-reason", reason.encode()),) if reason else (),
    )


SEEN = [outcome(job, reason="schema_invalid" if job == BAD else None) for job in JOBS]
CLEAN = Evidence(
    prints=PRINTS,
    reasons={BAD: "schema_invalid"},
    allowed={},
    concurrent=SEEN,
    final=sorted(SEEN, key=lambda seen: seen.source),
    committed={0: 5, 1: 5},
    ends={0: 5, 1: 5},
    peak_bytes=100,
    most_bytes=200,
)


def seen_by_both(seen: list[Outcome]) -> Judgement:
    return judge_cell(replace(CLEAN, concurrent=seen, final=seen))


def broken(judgement: Judgement) -> set[str]:
    assert not judgement.is_clean
    return {name for name, found in vars(judgement).items() if found}


def test_what_was_promised_is_clean() -> None:
    assert judge_cell(CLEAN).is_clean


def test_a_lost_job_is_red() -> None:
    judgement = seen_by_both([seen for seen in SEEN if seen.source != JOBS[4]])
    assert broken(judgement) == {"lost"}
    assert judgement.lost == (JOBS[4],)


def test_a_second_outcome_is_red() -> None:
    assert broken(seen_by_both([*SEEN, outcome(JOBS[0], offset=99)])) >= {"duplicated"}


def test_a_second_outcome_that_only_the_concurrent_reader_saw_is_red() -> None:
    judgement = judge_cell(replace(CLEAN, concurrent=[*SEEN, outcome(JOBS[9], offset=99)]))
    assert broken(judgement) == {"duplicated", "unstable"}


def test_outcomes_that_changed_places_are_red() -> None:
    early, late = outcome(JOBS[4], offset=3), outcome(JOBS[2], offset=5)
    changed = {JOBS[2]: late, JOBS[4]: early}
    judgement = seen_by_both([changed.get(seen.source, seen) for seen in SEEN])
    assert broken(judgement) == {"out_of_order"}
    assert judgement.out_of_order == (JOBS[2],)


def test_outcomes_that_came_to_the_concurrent_reader_in_another_order_are_red() -> None:
    """Offsets in order, arrival not: a log that was cut and written again under the reader looks like this."""
    assert broken(judge_cell(replace(CLEAN, concurrent=SEEN[::-1]))) == {"out_of_order"}


def test_an_outcome_of_no_job_is_red() -> None:
    stranger = outcome(Source("jobs", 0, 7), content="7 a.jpg", offset=99)
    assert broken(seen_by_both([*SEEN, stranger])) >= {"unknown"}


@pytest.mark.parametrize("reason", ["image_unavailable", "process_killed"])
def test_a_dead_letter_without_cause_is_red(reason: str) -> None:
    letter = outcome(JOBS[0], reason=reason)
    changed = [letter if seen.source == JOBS[0] else seen for seen in SEEN]
    assert broken(seen_by_both(changed)) == {"causeless"}
    allowed = replace(CLEAN, concurrent=changed, final=changed, allowed={JOBS[0]: reason})
    assert judge_cell(allowed).is_clean
    other = replace(allowed, allowed={JOBS[0]: "another reason"})
    assert broken(judge_cell(other)) == {"causeless"}


def test_a_bad_job_with_a_result_or_with_another_reason_is_red() -> None:
    for wrong in (outcome(BAD), outcome(BAD, reason="internal_error")):
        changed = [wrong if seen.source == BAD else seen for seen in SEEN]
        assert broken(seen_by_both(changed)) == {"causeless"}


def test_the_content_of_another_job_is_red() -> None:
    stolen = outcome(JOBS[0], content=PRINTS[JOBS[1]])
    assert broken(seen_by_both([stolen if seen.source == JOBS[0] else seen for seen in SEEN])) == {"mixed_up"}
    altered = outcome(BAD, reason="schema_invalid", content="=78")
    assert broken(seen_by_both([altered if seen.source == BAD else seen for seen in SEEN])) == {"mixed_up"}


def test_two_answers_for_one_image_are_red() -> None:
    other = replace(SEEN[0], value=f"{PRINTS[JOBS[0]]}\n43".encode())
    assert broken(seen_by_both([other, *SEEN[1:]])) >= {"mixed_up"}


@pytest.mark.parametrize("taken", [SEEN[:-1], SEEN[1:]])
def test_what_the_concurrent_reader_missed_or_only_it_saw_is_red(taken: list[Outcome]) -> None:
    assert broken(judge_cell(replace(CLEAN, concurrent=taken))) == {"unstable"}


@pytest.mark.parametrize("committed", [{0: 5, 1: 4}, {0: 5}, {0: 5, 1: None}, {0: 5, 1: 7}])
def test_a_committed_offset_that_is_not_the_end_is_red(committed: dict[int, int | None]) -> None:
    assert broken(judge_cell(replace(CLEAN, committed=committed))) == {"behind"}


@pytest.mark.parametrize("committed", [5, 6])
def test_a_marker_behind_the_last_job_may_be_passed_or_not(committed: int) -> None:
    assert judge_cell(replace(CLEAN, ends={0: 5, 1: 6}, committed={0: 5, 1: committed})).is_clean


def test_a_partition_on_two_output_partitions_is_red_unless_it_was_added_and_processes_started_since() -> None:
    strayed = replace(SEEN[9], partition=0, offset=98)
    changed = [*SEEN[:9], strayed]
    assert broken(seen_by_both(changed)) == {"scattered"}
    for moved_from, is_clean in ((1, True), (2, False)):
        evidence = replace(CLEAN, concurrent=changed, final=changed, moved_from=moved_from)
        assert judge_cell(evidence).is_clean is is_clean


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"unready": ("replica-1 is not ready",)}, "stuck"),
        ({"unexpected": ("replica-1 ended with 70",)}, "unexpected"),
        ({"peak_bytes": 201}, "swollen"),
    ],
)
def test_a_stuck_an_ended_and_a_swollen_replica_are_red(change: dict[str, object], name: str) -> None:
    assert broken(judge_cell(replace(CLEAN, **change))) == {name}  # type: ignore[arg-type]


GOOD_DRAFT, BAD_DRAFT = Draft(b"good", None, "1 a.jpg"), Draft(b"bad", "schema_invalid", "=77")
DRAFTS = {draft.value: draft for draft in (GOOD_DRAFT, BAD_DRAFT)}


def test_the_jobs_are_those_on_the_topic_and_one_that_is_there_twice_is_two() -> None:
    records = {JOBS[0]: b"good", JOBS[1]: b"bad", JOBS[2]: b"good"}
    prints, reasons, trouble = known_by(records, DRAFTS)
    assert prints == {JOBS[0]: "1 a.jpg", JOBS[1]: "=77", JOBS[2]: "1 a.jpg"}
    assert reasons == {JOBS[1]: "schema_invalid"}
    assert trouble == []


def test_an_acknowledged_job_that_is_not_on_the_topic_and_a_record_of_nobody_are_told() -> None:
    _, _, trouble = known_by({JOBS[0]: b"good", JOBS[1]: b"other"}, DRAFTS)
    assert trouble == ["1 acknowledged jobs are not on the topic", "1 jobs of nobody"]
