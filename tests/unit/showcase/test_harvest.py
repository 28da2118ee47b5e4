"""Are outcomes counted by job, and is silence noticed?"""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from consumer.demo.line import DrawnPart
from consumer.demo.mistakes import Mistake, mistakes
from consumer.errors import CheckFailed
from consumer.kafka.reader import Reader
from consumer.messages import DeadLetter, Message, Record, encode_dead_letter, encode_result
from consumer.showcase import harvest as module
from consumer.showcase.harvest import Harvest
from tests.unit.samples import a_record, a_result

MISTAKES = mistakes("parts", "bad/")


class Log:
    """Gives one batch of records a poll, then nothing."""

    def __init__(self, *batches: list[Record]) -> None:
        self._batches = list(batches)

    def poll(self, _: float) -> list[Record]:
        return self._batches.pop(0) if self._batches else []


def on_topic(topic: str, message: Message, *, at: int = 0) -> Record:
    return Record(topic, 0, at, 1_700_000_000_000 + at, message.key, message.value, message.headers)


def result(*, at: int = 0) -> Record:
    return on_topic("results", encode_result(a_result()), at=at)


def dead_letter(mistake: Mistake, *, at: int = 0) -> Record:
    record = a_record(mistake.value, key=mistake.key.encode(), offset=7)
    return on_topic("dead", encode_dead_letter(DeadLetter(record, "id", mistake.reason, "fetch", "why")), at=at)


def gather(count: int, *batches: list[Record]) -> tuple[Harvest, int]:
    harvest, steps = Harvest("results"), []
    harvest.gather(cast(Reader, Log(*batches)), count, lambda: steps.append(1), lambda: None)
    return harvest, len(steps)


def report_on(harvest: Harvest, bad: Sequence[Mistake]) -> list[tuple[str, str]]:
    made = harvest.report({}, bad, seconds=1, batches={})
    return [(job.name, job.reason) for job in made.bad_jobs]


def test_an_outcome_that_comes_again_is_one_job() -> None:
    harvest, steps = gather(2, [result(), result(at=1)], [dead_letter(MISTAKES[0]), dead_letter(MISTAKES[0], at=9)])

    assert (steps, harvest.repeated) == (2, 2)
    assert report_on(harvest, MISTAKES[:1]) == [("missing object", "image_not_found")]


def test_a_dead_letter_that_nobody_expected_is_told() -> None:
    harvest, _ = gather(1, [dead_letter(MISTAKES[1])])

    assert report_on(harvest, MISTAKES[:1]) == [
        ("missing object", ""),
        ("good image bad/truncated.jpg", "image_undecodable"),
    ]


def test_what_the_consumers_do_is_looked_at_all_the_while() -> None:
    def check() -> None:
        raise CheckFailed("replica 1 ended with 5")

    with pytest.raises(CheckFailed, match="replica 1"):
        Harvest("results").gather(cast(Reader, Log()), 1, lambda: None, check)


def test_silence_is_not_waited_out_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE", 0.0)

    with pytest.raises(CheckFailed, match=r"no outcome for 0 s, 1 of 3 jobs have one"):
        gather(3, [result()])


def test_results_are_written_as_the_topic_holds_them_in_the_order_of_their_images(tmp_path: Path) -> None:
    harvest, _ = gather(1, [result()])

    harvest.write_results(tmp_path / "results.jsonl", ["not there", a_result().body.image.key])

    assert (tmp_path / "results.jsonl").read_bytes() == (encode_result(a_result()).value or b"") + b"\n"


def test_a_part_without_a_result_is_not_scored() -> None:
    harvest, _ = gather(1, [result()])
    part = DrawnPart("1.jpg", Path("1.jpg"), (), b"")

    assert harvest.report({"elsewhere": part}, (), seconds=1, batches={}).score.drawn.total() == 0
    assert harvest.report({a_result().body.image.key: part}, (), seconds=1, batches={}).score.false.total() > 0
