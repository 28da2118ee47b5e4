"""Which moment does a person mean by `10m`, `2026-01-31T08:00` or `latest`?"""

import re
from datetime import UTC, datetime, timedelta
from typing import Literal

Moment = datetime | Literal["earliest", "latest"]

_AGO = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_moment(text: str, *, now: datetime) -> Moment:
    """A time ago (`90s`, `10m`, `2h`, `7d`, `1w`), an ISO 8601 time (UTC where it names no zone), earliest or latest.

    What lies before 1970 is earliest. Raises ValueError with one line that says what is accepted.
    """
    if text in ("earliest", "latest"):
        return "earliest" if text == "earliest" else "latest"
    moment = _ago(text, now) if _AGO.fullmatch(text) else _iso(text)
    return "earliest" if moment < _EPOCH else moment  # Kafka has names, not times, below 0


def _ago(text: str, now: datetime) -> datetime:
    number, unit = text[:-1], text[-1]
    try:
        return now - timedelta(**{_UNITS[unit]: float(number)})
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def _iso(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        expected = "expected earliest, latest, a time ago such as 90s, 10m, 2h or 7d, or 2026-01-31T08:00:00Z"
        raise ValueError(f"{text!r} is no time: {expected}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
