"""Which moment is meant?"""

from datetime import UTC, datetime

import pytest

from consumer.watching.moments import read_moment

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", datetime(2026, 1, 31, 11, 58, 30, tzinfo=UTC)),
        ("10m", datetime(2026, 1, 31, 11, 50, tzinfo=UTC)),
        ("1.5h", datetime(2026, 1, 31, 10, 30, tzinfo=UTC)),
        ("1w", datetime(2026, 1, 24, 12, 0, tzinfo=UTC)),
        ("2026-01-31T08:00:00Z", datetime(2026, 1, 31, 8, 0, tzinfo=UTC)),
        ("2026-01-31T08:00+02:00", datetime(2026, 1, 31, 6, 0, tzinfo=UTC)),
        ("2026-01-31T08:00", datetime(2026, 1, 31, 8, 0, tzinfo=UTC)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("earliest", "earliest"),
        ("latest", "latest"),
        ("1969-12-31T23:59:59.999Z", "earliest"),  # -1 ms is Kafka's own word for the end
        ("30000d", "earliest"),
        ("999999999w", "earliest"),
        ("0001-01-01T00:00+14:00", "earliest"),
    ],
)
def test_a_moment_is_read(text: str, moment: datetime | str) -> None:
    assert read_moment(text, now=NOW) == moment


@pytest.mark.parametrize("text", ["", "10", "10 m", "-5m", "yesterday", "10M", "1e3s", "2026-13-01", "٣m"])
def test_what_is_no_time_says_what_is(text: str) -> None:
    with pytest.raises(ValueError, match="is no time: expected earliest, latest, a time ago such as 90s"):
        read_moment(text, now=NOW)
