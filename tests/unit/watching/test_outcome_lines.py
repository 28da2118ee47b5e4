"""What do outcomes look like on a terminal and to programs?"""

import msgspec

from consumer.messages import Record, encode_dead_letter, encode_result
from consumer.outcomes import DeadLetterView
from consumer.settings import TopicSettings
from consumer.watching.choice import Seen
from consumer.watching.dead_letter_page import lines_of, page_of
from consumer.watching.outcome_lines import HEADING, as_json, as_text, printable, time_of
from consumer.watching.tally import Tally
from tests.unit.samples import a_letter, a_record, a_result

TOPICS = TopicSettings()
AT = 1_769_846_400_000


def result(detections: int = 1) -> Seen:
    message = encode_result(a_result(detections=detections))
    return Seen.of(Record(TOPICS.results, 3, 7, AT, message.key, message.value, message.headers), TOPICS)


def dead(value: bytes | None = b"\xff{", **changes: object) -> Seen:
    message = encode_dead_letter(a_letter(a_record(value), **changes))
    return Seen.of(Record(TOPICS.dead_letters, 3, 8, AT, message.key, message.value, message.headers), TOPICS)


def letter_of(seen: Seen) -> DeadLetterView:
    assert isinstance(seen.outcome, DeadLetterView)
    return seen.outcome


def test_a_line_has_its_columns_below_the_heading() -> None:
    line = as_text(result(2))

    assert line.split() == [
        *("2026-01-31T08:00:00Z", "3/7", "41.5", "s3://parts/line-3/0001.jpg"),
        *("2", "scratch", "0.88"),
    ]
    assert line.index("s3://") == HEADING.index("IMAGE")
    assert as_text(result(0)).endswith("  nothing")
    assert as_text(dead()).endswith("  dead letter: image_not_found: s3://parts/x.jpg is not there")


def test_nothing_that_jobs_bring_can_steer_the_terminal() -> None:
    hostile = dead(message="\x1b]0;owned\x07 [red]\u202e\n", job_id="\x1b[2J")
    everything = [as_text(hostile), *lines_of(hostile, letter_of(hostile))]

    assert all(line.isprintable() for line in everything)
    assert printable("ü [bold]\x1b\ud800") == "ü [bold]\\x1b\\ud800"


def test_a_timestamp_beyond_the_calendar_is_a_number() -> None:
    assert time_of(2**62) == str(2**62)
    assert time_of(-1) == "1969-12-31T23:59:59Z"


def test_programs_get_a_result_as_it_is_and_a_dead_letter_as_an_object() -> None:
    assert msgspec.json.decode(msgspec.json.encode(as_json(result())))["schema"] == "inspection.result/1"
    told = msgspec.json.decode(msgspec.json.encode(as_json(dead(index=1))))
    assert (told["reason"], told["retryable"], told["source"]["index"]) == ("image_not_found", True, 1)
    assert told["dead_letter"] == {"topic": TOPICS.dead_letters, "partition": 3, "offset": 8, "timestamp_ms": AT}


def test_a_page_shows_json_laid_out_and_bytes_as_a_dump() -> None:
    native, binary = dead(b'{"image":"s3://b/k"}'), dead(b"\xff\x00A" * 2000)

    assert '  "image": "s3://b/k"' in [line[2:] for line in lines_of(native, letter_of(native))]
    lines = list(lines_of(binary, letter_of(binary)))
    assert "  00000000  ff 00 41 ff" in "\n".join(lines)
    assert lines[-1] == "  … and 1904 bytes more"
    told = msgspec.json.decode(msgspec.json.encode(page_of(binary)))
    assert (told["job"], told["value"]["base64"][:4]) == (None, "/wBB")
    assert msgspec.json.decode(msgspec.json.encode(page_of(native)))["job"] == {"image": "s3://b/k"}


def test_text_with_a_broken_string_inside_is_no_json() -> None:
    assert page_of(dead(b'{"a": "\xff"}')).job is None


def test_a_tally_counts_by_reason() -> None:
    tally = Tally.of([letter_of(dead()), letter_of(dead()), letter_of(dead(reason="schema_invalid"))])

    assert [(row.reason, row.count, row.retryable) for row in tally.rows] == [
        ("image_not_found", 2, True),
        ("schema_invalid", 1, False),
    ]
    assert tally.total == 3
