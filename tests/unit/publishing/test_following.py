"""When have all jobs of a publication their outcome?"""

from consumer.publishing.following import Awaited


def test_every_job_needs_one_outcome_and_a_second_one_changes_nothing() -> None:
    awaited = Awaited()
    for partition, offset in ((0, 5), (0, 6), (1, 5)):
        awaited.expect(partition, offset)
    awaited.complete()

    awaited.settle(0, 6, None)
    awaited.settle(0, 6, None)
    awaited.settle(1, 5, "image_not_found")
    awaited.settle(1, 5, None)

    assert (awaited.results, awaited.dead_letters, awaited.missing) == (1, {"image_not_found": 1}, 1)
    assert awaited.first_missing(3) == [(0, 5)]


def test_outcomes_of_other_peoples_jobs_are_passed_over() -> None:
    awaited = Awaited()
    awaited.settle(0, 4, None)
    awaited.settle(0, 99, None)
    awaited.expect(0, 5)
    awaited.complete()
    awaited.settle(0, 6, None)

    assert (awaited.results, awaited.missing) == (0, 1)


def test_an_outcome_that_comes_before_the_brokers_word_counts() -> None:
    awaited = Awaited()
    awaited.settle(0, 7, "image_too_large")
    awaited.settle(0, 7, None)  # a duplicate
    awaited.settle(0, 9, None)
    for offset in (5, 7, 9):
        awaited.expect(0, offset)

    assert (awaited.results, awaited.dead_letters, awaited.missing) == (1, {"image_too_large": 1}, 1)


def test_what_is_settled_or_foreign_is_not_kept() -> None:
    awaited = Awaited()
    for offset in range(0, 2000, 2):
        awaited.settle(0, offset + 1, None)  # a neighbour's
        awaited.expect(0, offset)
        awaited.settle(0, offset, None)

    assert awaited.results == 1000
    assert kept(awaited) <= 1

    awaited.settle(0, 1, None)  # late, and long passed
    assert kept(awaited) <= 1
    awaited.complete()
    awaited.settle(0, 99_999, None)  # nobody expects it any more
    assert kept(awaited) == 0


def test_where_none_of_ours_lands_other_peoples_outcomes_take_no_memory_without_end() -> None:
    awaited = Awaited()
    for offset in range(30_000):
        awaited.settle(7, offset, None)
    assert kept(awaited) <= 10_000

    awaited.expect(7, 29_999)
    assert awaited.results == 1


def kept(awaited: Awaited) -> int:
    return sum(len(places) for kept in (awaited._open, awaited._early) for places in kept.values())
