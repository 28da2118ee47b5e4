"""What does one image cost on a machine? Measured there, kept in a file, read anywhere."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from consumer.errors import SettingsError
from consumer.writing import write_whole

SCHEMA = "inspection.measurements/1"

Seconds = Annotated[float, Meta(ge=0, le=3600)]
ServiceSeconds = Annotated[float, Meta(gt=0, le=3600)]
Count = Annotated[int, Meta(ge=1)]
Bytes = Annotated[int, Meta(ge=1)]


class Images(Struct, frozen=True, forbid_unknown_fields=True):
    """What was decoded: `size` is `1920x1080`, or `mixed`; `bytes` and `pixels` are means of `count` images."""

    size: str
    count: Count
    bytes: Bytes
    pixels: Count


class Work(Struct, frozen=True, forbid_unknown_fields=True):
    """CPU seconds of one image in each stage but the engine. `fetch_source` says where that number is from. `standing`
    is the part of a core that a replica takes whatever it does: polling, statistics, transactions, health."""

    fetch: Seconds
    decode: ServiceSeconds
    letterbox: ServiceSeconds
    select: Seconds
    handover: Seconds
    standing: Annotated[float, Meta(ge=0, le=0.5)]
    fetch_source: str

    @property
    def total(self) -> float:
        return self.fetch + self.decode + self.letterbox + self.select + self.handover


class EngineWork(Struct, frozen=True, forbid_unknown_fields=True):
    """The engine with all its places full: wall seconds and CPU seconds of one image, wall seconds of one batch."""

    name: str
    sha256: str
    engine: str
    precision: str
    device: str
    places: Count
    max_batch: Count
    seconds: ServiceSeconds
    cpu_seconds: Seconds
    batch_seconds: ServiceSeconds

    @property
    def has_device(self) -> bool:
        """Whether it computes elsewhere than on the cores that decode."""
        return self.device != "cpu"


class Measurements(Struct, frozen=True, forbid_unknown_fields=True):
    """One machine's. Records are sized as Kafka's limits count them; `resident_bytes` is the process with its engine
    loaded, `slot_bytes` the slots of its batches."""

    schema: str
    measured_at: str
    version: str
    machine: str
    cores: Count
    images: Images
    work: Work
    engine: EngineWork
    job_bytes: Bytes
    result_bytes: Bytes
    resident_bytes: Bytes
    slot_bytes: Bytes


def read_measurements(path: Path) -> Measurements:
    """Raises SettingsError that names the file and the fact."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"--measurements: {path} cannot be read: {error.strerror}") from error
    try:
        said = msgspec.json.decode(content, type=_Versioned).schema
        if said != SCHEMA:
            raise SettingsError(f"--measurements: {path} holds {said}, this version reads {SCHEMA}")
        return msgspec.json.decode(content, type=Measurements)
    except msgspec.DecodeError as error:
        raise SettingsError(f"--measurements: {path} holds no measurements: {error}") from error


def save_measurements(measurements: Measurements, path: Path) -> None:
    """In one step. Raises OSError."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(measurements)) + b"\n")


class _Versioned(Struct):
    schema: str
