"""Composition root of `consumer audit run`: settings → parts → a running auditor.

As with `consumer run`, everything that a person can get wrong is looked at before the group is joined.
"""

import os
import socket
import time
from functools import partial

from consumer.audit.manifest import Signer, read_private_key
from consumer.audit.rows import DEAD_LETTER_ROWS, JOB_ROWS, RESULT_ROWS
from consumer.auditing.auditor import Auditor, Post
from consumer.auditing.desk import Desk
from consumer.auditing.metrics import AuditMetrics
from consumer.auditing.scribe import Scribe
from consumer.errors import SettingsError
from consumer.health import Health
from consumer.images.access import S3Access
from consumer.images.shelf import S3Shelf
from consumer.kafka.source import Source
from consumer.kafka.topics import LogOffsets, check_readable
from consumer.process import Process
from consumer.settings import AuditSettings, Settings

ATTEMPT = 5.0
CHECKS = ("store", "broker", "group")


class AuditProcess:
    """One auditor. Several of them share the partitions of the three topics out between them."""

    def __init__(self, settings: Settings, *, until_caught_up: bool = False) -> None:
        self._settings = settings
        self._until_caught_up = until_caught_up
        self._metrics = AuditMetrics()
        self._health = Health(self._metrics, CHECKS)
        self._process = Process(settings, self._health, self._metrics)

    def main(self) -> int:
        """Run until done or until a signal; returns the exit code."""
        return self._process.main(self._run)

    def _run(self) -> None:
        settings = self._settings
        if settings.audit.bucket is None:
            raise SettingsError("audit.bucket: required, not set")
        signer = read_signer(settings.audit)
        deadline = time.monotonic() + settings.limits.startup_timeout
        # One attempt at a time: the loop must see signals and keep its memberships between them.
        give_up = lambda _: True  # noqa: E731
        shelf = S3Shelf(S3Access(settings.s3), settings.audit.bucket, settings.audit.prefix, sleep=give_up)
        self._process.patiently("store", partial(shelf.check, settings.audit), deadline)
        attempt = min(ATTEMPT, settings.limits.startup_timeout)
        self._process.patiently("broker", partial(check_readable, settings, timeout=attempt), deadline)

        scribe = Scribe(shelf, settings.audit, signer, writer=f"{socket.gethostname()}-{os.getpid()}")
        topics = settings.topics
        kinds = {
            topics.jobs: JOB_ROWS,
            topics.results: RESULT_ROWS,
            topics.dead_letters: DEAD_LETTER_ROWS,
        }
        posts, ends = [], {}
        for topic, kind in kinds.items():
            desk = Desk(topic, kind, scribe, self._metrics)
            reading = reading_of(settings, topic)
            log_offsets = LogOffsets(reading)
            posts.append(Post(desk, Source(reading, desk, log_offsets=log_offsets)))
            if self._until_caught_up:
                ask = partial(log_offsets.ends, timeout=ATTEMPT)
                ends[topic] = self._process.patiently("broker", ask, deadline)
        auditor = Auditor(
            settings, posts, scribe, health=self._health, metrics=self._metrics, stopping=self._process.stopping
        )
        self._process.is_running = True
        auditor.run(until=ends if self._until_caught_up else None)


def reading_of(settings: Settings, topic: str) -> Settings:
    """The settings with which a source reads one of the topics, from its beginning, in the auditors' group."""
    group = settings.audit.group_id or f"{settings.kafka.group_id}-audit"
    extra = dict(settings.kafka.extra)
    if instance := extra.get("group.instance.id"):  # one process is three members
        extra["group.instance.id"] = f"{instance}-{topic}"
    return settings.model_copy(
        update={
            "kafka": settings.kafka.model_copy(update={"group_id": group, "start": "earliest", "extra": extra}),
            "topics": settings.topics.model_copy(update={"jobs": topic}),
        }
    )


def read_signer(settings: AuditSettings) -> Signer | None:
    """The key that manifests are signed with, None where there is none. Raises SettingsError without quoting it."""
    if settings.signing_key_file is not None:
        key, text = "signing_key_file", _read(settings)
    elif settings.signing_key is not None:
        key, text = "signing_key", settings.signing_key.get_secret_value()
    else:
        return None
    try:
        return read_private_key(text)
    except (ValueError, TypeError) as error:  # TypeError: it is encrypted
        raise SettingsError(f"audit.{key}: no Ed25519 private key (PEM, or base64 of 32 bytes): {error}") from error


def _read(settings: AuditSettings) -> str:
    path = settings.signing_key_file
    try:
        return path.read_text(encoding="utf-8") if path is not None else ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"audit.signing_key_file: {path} cannot be read: {error}") from error
