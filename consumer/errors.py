"""What went wrong, and what happens next.

    ConsumerError
    ├── Rejected             the job is at fault: one dead letter with this reason
    ├── Unavailable          the world is at fault: tried again while the partition is ours, readiness red
    ├── Abandoned            the job is no longer ours (revoked or stopping): its answer is thrown away
    ├── OutOfDeviceMemory    the batch was too large: run again in halves, the ceiling is remembered
    ├── TooManyDeadLetters   the process holds: nothing more is delivered until a person restarts it
    └── Fatal                the process ends with `exit_code`
        ├── CheckFailed      1: what the process found is for a person to judge
        ├── SettingsError    2: what the settings say cannot be run
        ├── Unreachable      3: broker or store gives no answer within limits.startup_timeout, or ends no transaction
        ├── Fenced           4: another process has our delivery slot
        └── EngineBroken     5: the engine or its device gives no more answers, or wrong ones; or a decoding never ends

Anything else is a bug: logged with its traceback; in a job it becomes the dead letter `internal_error`.
"""

from typing import ClassVar, Literal, get_args

Reason = Literal[
    "schema_invalid",
    "bucket_not_allowed",
    "image_not_found",
    "image_forbidden",
    "image_unavailable",
    "image_too_large",
    "image_too_many_pixels",
    "image_format_unsupported",
    "image_undecodable",
    "image_changed",
    "job_expired",
    "deadline_exceeded",
    "result_too_large",
    "engine_failed",
    "process_killed",
    "internal_error",
]
REASONS: tuple[Reason, ...] = get_args(Reason)

Stage = Literal["intake", "fetch", "decode", "detect", "deliver"]

# The same job may succeed when it is sent again without being changed.
RETRYABLE: frozenset[Reason] = frozenset(
    {"image_not_found", "image_forbidden", "image_unavailable", "deadline_exceeded", "engine_failed", "process_killed"}
)


class ConsumerError(Exception):
    """The root of all errors that this package raises on purpose."""


class Rejected(ConsumerError):
    """The job cannot be done as it is; it becomes one dead letter and costs nobody else anything."""

    def __init__(self, reason: Reason, message: str, *, stage: Stage = "intake") -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.stage: Stage = stage


class Unavailable(ConsumerError):
    """Something outside does not answer as it should; `code` says what (bounded: it labels a metric)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Abandoned(ConsumerError):
    """The partition was taken away or the process stops; nobody waits for this job's outcome any more."""


class OutOfDeviceMemory(ConsumerError):
    """An engine raises this from `start` or its future when a batch does not fit; smaller ones may."""


class TooManyDeadLetters(ConsumerError):
    """More jobs fail than `limits.dead_letter_ratio` or `limits.dead_letter_run` allow."""


class Fatal(ConsumerError):
    """Ends the process with `exit_code`, after one line that says why."""

    exit_code: ClassVar[int] = 70


class CheckFailed(Fatal):
    """Going on would lose, repeat or spoil jobs, and waiting mends nothing: a person must look."""

    exit_code = 1


class SettingsError(Fatal):
    """The settings, or what they name (topic, bucket, weights, precision, credentials), cannot be run."""

    exit_code = 2


class Unreachable(Fatal):
    """Broker or store did not answer within `limits.startup_timeout`; or the broker does not end a transaction, which
    holds the transactional id, for five minutes."""

    exit_code = 3


class Fenced(Fatal):
    """Another process uses the same `delivery.slot`."""

    exit_code = 4


class EngineBroken(Fatal):
    """The engine fails on an image that it answered at its start, answers it otherwise, or does not answer at all; or
    its device is lost. A decoding that never ends takes the same way out."""

    exit_code = 5
