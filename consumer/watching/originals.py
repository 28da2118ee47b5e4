"""What were the values of the jobs that are to be sent again, without holding all of them at once?"""

from collections.abc import Sequence

from consumer.kafka.reader import Place, Reader
from consumer.messages import Record
from consumer.settings import Settings

AT_ONCE = 200  # records of which the largest may have a megabyte

Where = tuple[str, int, int]
"""Topic, partition and offset."""


def where_of(record: Record) -> Where:
    return record.topic, record.partition, record.offset


def read_records(settings: Settings, wanted: Sequence[Where]) -> dict[Where, Record]:
    """Those that are still there. Raises SettingsError or Unavailable, see `Reader`."""
    starts: dict[Place, int] = {}
    for topic, partition, offset in wanted:
        starts[topic, partition] = min(offset, starts.get((topic, partition), offset))
    places, found = set(wanted), dict[Where, Record]()
    with Reader(settings, sorted({topic for topic, _, _ in wanted}), start=starts) as reader:
        for record in reader.read_to_end():
            if where_of(record) in places:
                found[where_of(record)] = record
            if len(found) == len(places):
                break
    return found
