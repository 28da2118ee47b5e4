"""How many partitions do so many replicas want?"""

import math

# Numbers with many divisors: other numbers of replicas, later, share them out evenly too.
ROUND = (12, 24, 36, 48, 60, 72, 96, 120, 144, 180, 240, 360, 480, 720, 840, 1260, 1680, 2520)


def partitions_for(replicas: int, rate: float, *, most: float, capacity: float) -> int:
    """At least two a replica, to grow; such a number that the busiest replica is given no more than `most` images a
    second; and, where the others can carry the whole rate without one of them, none of these more than `capacity`."""
    multiples = (replicas * by for by in range(2, 9))
    candidates = sorted(number for number in {*ROUND, *multiples} if number >= max(ROUND[0], 2 * replicas))

    fair = [number for number in candidates if busiest(rate, number, replicas) <= most]
    safe = [number for number in fair if replicas > 1 and busiest(rate, number, replicas - 1) <= capacity]
    return (safe or fair or [2 * replicas])[0]


def busiest(rate: float, partitions: int, replicas: int) -> float:
    """Images a second of the replica that owns the most partitions."""
    return rate / partitions * math.ceil(partitions / replicas)
