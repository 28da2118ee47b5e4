"""Which records are sent to hurt, by accident or on purpose, and what becomes of each?"""

from tests.hostile.events import broken_events
from tests.hostile.message_case import MessageCase
from tests.hostile.names import odd_headers, odd_keys
from tests.hostile.values import odd_bytes, odd_json, odd_metadata, odd_numbers, wrong_types

CASES: tuple[MessageCase, ...] = (
    *odd_bytes(),
    *odd_json(),
    *wrong_types(),
    *odd_numbers(),
    *odd_metadata(),
    *odd_keys(),
    *odd_headers(),
    *broken_events(),
)
