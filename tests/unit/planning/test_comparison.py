"""Does docs/scaling.md get what was compared, and is what is too far off seen?"""

from pathlib import Path

import pytest

from consumer.planning.capacity import capacity_of
from tests.scaling.__main__ import CASES
from tests.scaling.comparison import BEGIN, END, Compared, write
from tests.scaling.trial import Case, Seen
from tests.unit.planning.test_plan import measurements, question

PAGE = Path(__file__).parents[3] / "docs" / "scaling.md"


def compared(rate: float, *, limit: str = "engine") -> Compared:
    """Of two replicas that are planned to do 1,000 images/s each."""
    case = Case(limit, 2, places=2, seconds=0.1, max_in_flight=2048)
    return Compared(case, capacity_of(question(), measurements()), measurements(), 0.1, Seen(rate, 0.01, 0.1))


@pytest.mark.parametrize(("rate", "is_close"), [(1690, False), (1710, True), (2290, True), (2310, False)])
def test_a_plan_is_close_or_not(rate: float, is_close: bool) -> None:
    assert compared(rate).is_close is is_close


def test_a_plan_with_another_limit_is_not_close_however_near() -> None:
    assert not compared(2000, limit="jobs in hand").is_close


def test_the_page_keeps_what_stands_around_the_table(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write([compared(2000)], page)
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\nWith Apache Kafka ")
    assert text.endswith(f"{END}\nafter\n")
    assert "| engine | 2 | 2000.0 | 2000.0 | 1.00 |" in text
    assert "old" not in text


def test_the_page_has_a_row_of_every_case() -> None:
    table = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    rows = [line for line in table.splitlines() if line.startswith(("| engine", "| jobs in hand"))]
    assert [row.split(" | ")[1] for row in rows] == [str(case.replicas) for case in CASES]
