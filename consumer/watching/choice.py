"""Which outcomes does a person ask for?"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Self

from consumer.errors import Rejected
from consumer.intake import contents_of
from consumer.messages import Record, ResultMessage
from consumer.outcomes import DeadLetterView, NotAnOutcome, read_outcome
from consumer.settings import TopicSettings


@dataclass(frozen=True, slots=True)
class Seen:
    """An outcome with the record that it was read from."""

    record: Record
    outcome: ResultMessage | DeadLetterView

    @classmethod
    def of(cls, record: Record, topics: TopicSettings) -> Self:
        """Raises NotAnOutcome with the place of the record."""
        return cls(record, read_outcome(record, topics))

    @property
    def coordinates(self) -> str:
        """The place of the job: topic/partition/offset."""
        return self.outcome.source.coordinates

    @property
    def image(self) -> str | None:
        """Its s3:// address; None where the job does not say, or cannot be read."""
        if isinstance(self.outcome, ResultMessage):
            return f"s3://{self.outcome.image.bucket}/{self.outcome.image.key}"
        if not self.outcome.is_complete:
            return None
        try:
            jobs = contents_of(self.record).jobs
        except Rejected:
            return None
        return jobs[0].image.uri if len(jobs) == 1 else None


class Strangers:
    """Records on the output topics that are no outcomes: the first is told, the others are counted."""

    def __init__(self) -> None:
        self.count = 0
        self.first = ""

    def add(self, error: NotAnOutcome) -> None:
        self.first = self.first or str(error)
        self.count += 1

    def __str__(self) -> str:
        more = f" (and {self.count - 1} more such records)" if self.count > 1 else ""
        return f"passed over: {self.first}{more}"


def outcomes_of(records: Iterable[Record], topics: TopicSettings, strangers: Strangers) -> Iterator[Seen]:
    for record in records:
        try:
            yield Seen.of(record, topics)
        except NotAnOutcome as error:
            strangers.add(error)


@dataclass(frozen=True, slots=True)
class Choice:
    """What an outcome must be; what is not set holds of every outcome. Classes and confidences are asked of results,
    reasons and whether a retry may help of dead letters: the other kind does not match."""

    key: str | None = None
    image: str | None = None
    job: str | None = None
    until_ms: int | None = None
    classes: frozenset[str] = frozenset()
    min_confidence: float | None = None
    max_confidence: float | None = None
    reasons: frozenset[str] = frozenset()
    is_retryable: bool | None = None

    @property
    def is_of_results(self) -> bool:
        return bool(self.classes) or self.min_confidence is not None or self.max_confidence is not None

    @property
    def is_of_dead_letters(self) -> bool:
        return bool(self.reasons) or self.is_retryable is not None

    def takes(self, seen: Seen) -> bool:
        outcome = seen.outcome
        if not (self._takes_key(seen.record) and self._takes_job(seen) and self._takes_image(seen)):
            return False
        if self.until_ms is not None and seen.record.timestamp_ms > self.until_ms:
            return False
        if isinstance(outcome, ResultMessage):
            return not self.is_of_dead_letters and self._takes_detections(outcome)
        return not self.is_of_results and self._takes_failure(outcome)

    def _takes_key(self, record: Record) -> bool:
        return self.key is None or (
            record.key is not None and fnmatchcase(record.key.decode(errors="replace"), self.key)
        )

    def _takes_job(self, seen: Seen) -> bool:
        return self.job is None or self.job in (seen.outcome.job_id, seen.coordinates)

    def _takes_image(self, seen: Seen) -> bool:
        if self.image is None:
            return True
        uri = seen.image
        if uri is None:
            return False
        return fnmatchcase(uri if self.image.startswith("s3://") else uri.split("/", 3)[3], self.image)

    def _takes_detections(self, result: ResultMessage) -> bool:
        if not self.is_of_results:
            return True
        least = 0.0 if self.min_confidence is None else self.min_confidence
        most = 1.0 if self.max_confidence is None else self.max_confidence
        return any(
            least <= detection.confidence <= most and (not self.classes or detection.class_name in self.classes)
            for detection in result.detections
        )

    def _takes_failure(self, letter: DeadLetterView) -> bool:
        is_wanted = self.is_retryable is None or letter.is_retryable == self.is_retryable
        return is_wanted and (not self.reasons or letter.reason in self.reasons)
