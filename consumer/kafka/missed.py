"""Was a member given partitions by an answer that never came?

With KIP-848 the broker says once, in the answer to a heartbeat, what a member is to have. A client that gave up waiting
for an answer has to tell everything about itself with its next heartbeat, and is told everything again; librdkafka
(seen with 2.16) sends an ordinary one. Partitions that the lost answer gave it stand still until the group changes, and
nothing but the broker's own description of the group shows that.
"""

import time
from collections.abc import Callable, Collection
from typing import Any

from consumer.kafka.group import NO_ANSWER, Group

LOOK_EVERY = 5.0
SUSPECT_FOR = 60.0
MISSED_AFTER = 15.0
"""Seconds. A member hears of what it is given with its next heartbeat, five seconds later by the brokers' default."""


class MissedPartitions:
    """Looks at the group for a while after a request was not answered in time. All calls come from one thread."""

    def __init__(self, ask: Callable[[], Group], clock: Callable[[], float] = time.monotonic) -> None:
        """`ask` gives the group without waiting for it: NO_ANSWER while the question is on its way."""
        self._ask = ask
        self._clock = clock
        self._timeouts = 0
        self._suspect_until = float("-inf")
        self._look_at = float("-inf")
        self._since: dict[int, float] = {}  # when a partition was seen first that is ours for the broker alone

    def on_statistics(self, statistics: dict[str, Any]) -> None:
        """Those of librdkafka's consumer."""
        timeouts = sum(broker.get("req_timeouts", 0) for broker in statistics["brokers"].values())
        if timeouts > self._timeouts:
            self._suspect_until = self._clock() + SUSPECT_FOR
        self._timeouts = timeouts

    @property
    def is_due(self) -> bool:
        """Whether to `find` now."""
        now = self._clock()
        return now >= self._look_at and (now <= self._suspect_until or bool(self._since))

    def find(self, member_id: str, owned: Collection[int]) -> list[int]:
        """The partitions that have long been this member's for the broker and are not among those it knows of."""
        now = self._clock()
        group = self._ask()
        if group == NO_ANSWER:
            return []
        self._look_at = now + LOOK_EVERY
        if group.owners:
            given = [partition for partition, owner in group.owners.items() if owner.member_id == member_id]
            self._since = {partition: self._since.get(partition, now) for partition in given if partition not in owned}
        return sorted(partition for partition, since in self._since.items() if now - since >= MISSED_AFTER)
