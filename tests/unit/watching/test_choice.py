"""Which outcomes are chosen, and what is passed over?"""

from dataclasses import replace
from typing import Any

import pytest

from consumer.messages import Record, encode_dead_letter, encode_result
from consumer.settings import TopicSettings
from consumer.watching.choice import Choice, Seen, Strangers, outcomes_of
from tests.unit.samples import a_letter, a_record, a_result

TOPICS = TopicSettings()


def result(**changes: Any) -> Seen:
    message = encode_result(a_result(**changes))
    return Seen.of(Record(TOPICS.results, 0, 5, 2000, message.key, message.value, message.headers), TOPICS)


def dead(**changes: Any) -> Seen:
    return Seen.of(lying(**changes), TOPICS)


def lying(**changes: Any) -> Record:
    message = encode_dead_letter(a_letter(**changes))
    return Record(TOPICS.dead_letters, 0, 6, 3000, message.key, message.value, message.headers)


@pytest.mark.parametrize(
    ("wanted", "takes_result", "takes_dead_letter"),
    [
        ({}, True, True),
        ({"key": "camera-*"}, True, True),
        ({"key": "CAMERA-*"}, False, False),
        ({"image": "line-3/*"}, True, True),
        ({"image": "s3://parts/*.jpg"}, True, True),
        ({"image": "*.png"}, False, False),
        ({"job": "inspection.jobs/3/1041"}, True, True),
        ({"job": "part-17"}, False, True),
        ({"until_ms": 2000}, True, False),
        ({"classes": frozenset({"scratch"})}, True, False),
        ({"classes": frozenset({"dent"})}, False, False),
        ({"min_confidence": 0.875}, True, False),
        ({"min_confidence": 0.876}, False, False),
        ({"max_confidence": 0.876}, True, False),
        ({"max_confidence": 0.875}, False, False),
        ({"classes": frozenset({"dent"}), "min_confidence": 0.1}, False, False),
        ({"reasons": frozenset({"image_not_found"})}, False, True),
        ({"reasons": frozenset({"engine_failed"})}, False, False),
        ({"is_retryable": True}, False, True),
        ({"is_retryable": False}, False, False),
    ],
)
def test_a_choice_takes_what_it_says(wanted: dict[str, Any], takes_result: bool, takes_dead_letter: bool) -> None:
    choice = Choice(**wanted)

    assert (choice.takes(result()), choice.takes(dead())) == (takes_result, takes_dead_letter)


def test_a_result_without_detections_has_no_confidence() -> None:
    assert not Choice(max_confidence=1.0).takes(result(detections=0))


def test_an_unreadable_job_has_no_image_and_a_missing_key_matches_nothing() -> None:
    broken = dead(record=a_record(b"\xff{", key=None))

    assert broken.image is None
    assert not Choice(image="*").takes(broken)
    assert not Choice(key="*").takes(broken)


def test_what_is_no_outcome_is_counted_and_the_first_is_told() -> None:
    strangers = Strangers()
    digits = (*lying().headers, ("__connect.errors.offset", b"9" * 5000))  # more than Python turns into a number
    records = [Record(TOPICS.results, 0, 1, 0, None, b"hello"), replace(lying(), headers=digits), lying()]

    assert len(list(outcomes_of(records, TOPICS, strangers))) == 1
    assert strangers.count == 2
    assert str(strangers).startswith(f"passed over: record {TOPICS.results}/0/1 is no result: ")
    assert str(strangers).endswith(" (and 1 more such records)")
