"""What do tools read in a record of an output topic?"""

from dataclasses import replace

import pytest

from consumer.messages import DeadLetter, Record, encode_dead_letter
from consumer.outcomes import NotAnOutcome, read_dead_letter, read_result

JOB = Record("jobs", 2, 17, 1000, b"line-3", b'{"x": 1}', (("trace", b"t"), ("trace", None)))


def lying(letter: DeadLetter) -> Record:
    """The dead letter as a reader gets it from its topic."""
    message = encode_dead_letter(letter)
    return Record("dead", 0, 5, 2000, message.key, message.value, message.headers)


def letter(**fields: object) -> DeadLetter:
    plain = DeadLetter(JOB, "a job", "image_not_found", "fetch", "image s3://b/k does not exist", attempts=3)
    return replace(plain, **fields)  # type: ignore[arg-type]


def test_a_dead_letter_tells_its_job_and_its_reason() -> None:
    view = read_dead_letter(lying(letter()))

    assert (view.source.topic, view.source.partition, view.source.offset, view.source.index) == ("jobs", 2, 17, 0)
    assert (view.job_id, view.reason, view.stage, view.attempts) == ("a job", "image_not_found", "fetch", 3)
    assert view.message == "image s3://b/k does not exist"
    assert (view.is_retryable, view.index, view.redriven, view.is_complete) == (True, None, 0, True)


def test_the_headers_of_the_job_are_given_back_with_its_id_and_without_those_of_the_failure() -> None:
    headers = read_dead_letter(lying(letter(index=1))).original_headers()

    assert headers[:2] == JOB.headers
    assert dict(headers) == {
        "trace": None,
        "content-type": b"application/json",
        "inspection-job-id": b"a job",
        "inspection-job-index": b"1",
    }


def test_one_of_several_jobs_says_which() -> None:
    view = read_dead_letter(lying(letter(index=1)))

    assert (view.index, view.source.index) == (1, 1)


def test_a_dead_letter_without_its_value_says_so() -> None:
    assert not read_dead_letter(lying(letter(has_value=False))).is_complete


def test_a_repeated_failure_counts_how_often_it_was_redriven() -> None:
    redriven = replace(JOB, headers=(("inspection-redriven-count", b"2"),))

    assert read_dead_letter(lying(letter(record=redriven))).redriven == 2


@pytest.mark.parametrize(
    ("name", "value", "fact"),
    [
        ("__connect.errors.topic", None, "no header __connect.errors.topic"),
        ("inspection-error-reason", None, "no header inspection-error-reason"),
        ("__connect.errors.offset", b"-3x", "__connect.errors.offset is '-3x'"),
        ("__connect.errors.partition", b"\xff", "__connect.errors.partition is"),
        ("__connect.errors.partition", b"1" * 5000, "__connect.errors.partition is '1111"),
    ],
)
def test_what_is_no_dead_letter_is_named(name: str, value: bytes | None, fact: str) -> None:
    whole = lying(letter())
    headers = tuple(header for header in whole.headers if header[0] != name)
    broken = replace(whole, headers=headers if value is None else (*headers, (name, value)))

    with pytest.raises(NotAnOutcome, match=f"record dead/0/5 is no dead letter: .*{fact}"):
        read_dead_letter(broken)


@pytest.mark.parametrize(
    "value", [None, b"", b"\xff", b"[]", b'{"schema": "inspection.result/2"}', b'{"x": ' + b"[" * 100_000]
)
def test_what_is_no_result_is_named(value: bytes | None) -> None:
    with pytest.raises(NotAnOutcome, match="record results/0/9 is no result"):
        read_result(Record("results", 0, 9, 0, None, value))


@pytest.mark.parametrize(
    "header",
    [
        ("inspection-redriven-count", b"many"),
        ("inspection-redriven-count", b"9" * 5000),
        ("inspection-job-index", b"abc"),
        ("inspection-original-omitted", b"true"),
    ],
)
def test_whatever_headers_a_job_was_published_with_its_dead_letter_is_read_whole(header: tuple[str, bytes]) -> None:
    view = read_dead_letter(lying(letter(record=replace(JOB, headers=(header,)))))

    assert (view.redriven, view.index, view.is_complete) == (0, None, True)
