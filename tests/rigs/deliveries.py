"""What have members delivered, and how far are they with it?"""

from collections.abc import Callable

from consumer.errors import Unavailable
from tests.rigs.jobs import job
from tests.rigs.member import Member
from tests.rigs.outcomes import Outcome as Seen
from tests.rigs.outcomes import OutcomeReader, Source, judge
from tests.rigs.topics import Topics

JOB = job("parts", "x.jpg")


def seen_by_reader(topics: Topics, count: int) -> list[Seen]:
    """Everything committed; the count is one that must be reached, and a surplus shows."""
    with OutcomeReader(topics.bootstrap_servers, topics.outcomes) as reader:
        return reader.read_count(count, within=20)


def assert_delivered_once(topics: Topics, sources: list[Source]) -> list[Seen]:
    seen = seen_by_reader(topics, len(sources))
    verdict = judge(sources, seen)
    assert verdict.is_clean, str(verdict)
    return seen


def holding(member: Member, count: int) -> Callable[[], bool]:
    return lambda: len(member.heads) == count


def done(*members: Member) -> Callable[[], bool]:
    """Everything that the members took in is delivered; ask only when all was taken in."""
    return lambda: not any(len(member.runner._ledger) or len(member.runner._admission) for member in members)


def has_delivered(topics: Topics, member: Member, sources: list[Source]) -> Callable[[], bool]:
    """The group's offsets are behind all of the sources."""
    ends: dict[int, int] = {}
    for source in sources:
        ends[source.partition] = max(ends.get(source.partition, 0), source.offset + 1)

    def is_so() -> bool:
        try:
            committed = member.stable()
        except Unavailable:  # the broker stands still
            return False
        return all((committed.get(partition) or 0) >= end for partition, end in ends.items())

    return is_so
