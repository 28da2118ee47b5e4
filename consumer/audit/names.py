"""Where does an audited range of offsets lie?

    {prefix}/topic={topic}/date=YYYY-MM-DD/partition={p}/{topic}+{p}+{first offset, 20 digits}.parquet

The path follows from the first row alone, so two auditors that begin at the same row mean the same object.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime

MANIFEST = "_manifest.json"
LAST_MS = 253_402_300_799_999  # the end of the year 9999: Kafka takes any number from a producer

_NAME = re.compile(r"(?P<topic>[A-Za-z0-9._-]+)\+(?P<partition>\d+)\+(?P<offset>\d{20})\.parquet")
_FOLDER = re.compile(
    r"topic=(?P<topic>[^/]+)/date=(?P<date>\d{4}-\d\d-\d\d)/partition=(?P<partition>\d+)/(?P<name>[^/]+)"
)


@dataclass(frozen=True, slots=True)
class Folder:
    """What one partition of a topic wrote on one day (UTC)."""

    topic: str
    date: date
    partition: int

    @property
    def path(self) -> str:
        """Below the prefix, without a slash at its end."""
        return f"{day_folder(self.topic, self.date)}/partition={self.partition}"

    @property
    def manifest(self) -> str:
        return f"{self.path}/{MANIFEST}"

    def file(self, first_offset: int) -> str:
        return f"{self.path}/{file_name(self.topic, self.partition, first_offset)}"


def day_folder(topic: str, day: date) -> str:
    return f"topic={topic}/date={day.isoformat()}"


def file_name(topic: str, partition: int, first_offset: int) -> str:
    return f"{topic}+{partition}+{first_offset:020d}.parquet"


def day_of(timestamp_ms: int) -> date:
    """The day in UTC; what lies outside of 1970 to 9999 counts as the nearest day of it."""
    return datetime.fromtimestamp(clamped(timestamp_ms) / 1000, UTC).date()


def clamped(timestamp_ms: int) -> int:
    return max(0, min(timestamp_ms, LAST_MS))


def read_path(path: str) -> tuple[Folder, str] | None:
    """Folder and name of an object below the prefix, or None for what is no part of an audit."""
    found = _FOLDER.fullmatch(path)
    if found is None:
        return None
    try:
        day = date.fromisoformat(found["date"])
    except ValueError:
        return None
    return Folder(found["topic"], day, int(found["partition"])), found["name"]


def first_offset_of(name: str) -> int | None:
    """The offset that a file's name begins at, None for another object."""
    found = _NAME.fullmatch(name)
    return int(found["offset"]) if found else None
