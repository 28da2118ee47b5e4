"""Which images are sent to hurt, by accident or on purpose, and what becomes of each?"""

import random
from collections.abc import Iterator

from tests.hostile.bombs import bombs, built_to_cost
from tests.hostile.damage import additions, contradictions, truncated
from tests.hostile.image_case import BY_CHANCE, FILES, MUTATIONS, SEED, ImageCase
from tests.hostile.kinds import animated, misnamed, samples, sizes
from tests.hostile.orientations import turned_by_exif


def by_chance() -> Iterator[ImageCase]:
    for name, content in FILES.items():
        chance = random.Random(f"{SEED} {name}")
        for number in range(MUTATIONS):
            yield ImageCase(f"mutated {name} {number}", mutated(content, chance), BY_CHANCE)


def mutated(content: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, most of them near the beginning, or a piece taken out, doubled or moved."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        at = int(chance.expovariate(1 / 60)) if chance.random() < 0.7 else chance.randrange(len(content) + 1)
        if at >= len(changed):
            continue
        match chance.randrange(4):
            case 0:
                changed[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))
            case 1:
                changed[at] ^= 1 << chance.randrange(8)
            case 2:
                del changed[at : at + chance.randint(1, 20)]
            case _:
                changed[at:at] = changed[at : at + chance.randint(1, 20)]
    return bytes(changed)


CASES: tuple[ImageCase, ...] = (
    *bombs(),
    *built_to_cost(),
    *truncated(),
    *misnamed(),
    *animated(),
    *samples(),
    *sizes(),
    *turned_by_exif(),
    *additions(),
    *contradictions(),
    *by_chance(),
)
