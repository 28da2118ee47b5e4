"""What the process was told: settings.yaml + environment → frozen, validated sections, one per part.

Environment (`CONSUMER__SECTION__KEY`) > secret files (`CONSUMER_SECRETS_DIR`) > file > defaults.
Durations are seconds, sizes are bytes (or text such as `20MiB`).
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from consumer.errors import SettingsError

PREFIX = "CONSUMER__"

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Size = Annotated[ByteSize, Field(ge=1)]

# Properties of librdkafka that the promises rest on, and the setting that rules each (None: nothing may).
MANAGED_PROPERTIES: dict[str, str | None] = {
    "bootstrap.servers": "kafka.bootstrap_servers",
    "metadata.broker.list": "kafka.bootstrap_servers",
    "group.id": "kafka.group_id",
    "group.protocol": "kafka.group_protocol",
    "transactional.id": "delivery.slot",
    "auto.offset.reset": "kafka.start",
    "isolation.level": None,
    "enable.auto.commit": None,
    "enable.auto.offset.store": None,
    "enable.idempotence": "delivery.mode",
    "enable.partition.eof": None,
    "statistics.interval.ms": None,
    "partition.assignment.strategy": None,
}


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class KafkaSettings(Section):
    bootstrap_servers: Text = "localhost:9092"
    group_id: Text = "inspection"
    group_protocol: Literal["classic", "consumer"] = "classic"
    start: Literal["earliest", "latest"] = "earliest"
    extra: dict[str, str | int | float | bool] = {}

    @field_validator("bootstrap_servers")
    @classmethod
    def _refuse_secrets(cls, servers: str) -> str:
        if "@" in servers:  # it is shown in messages
            raise ValueError("holds an @; user and password belong in kafka.extra (sasl.username, sasl.password)")
        return servers

    @field_validator("extra")
    @classmethod
    def _refuse_managed(cls, extra: dict[str, Any]) -> dict[str, Any]:
        refused = [name for name in extra if _is_managed(name)]
        if refused:
            raise ValueError("; ".join(_why_managed(name) for name in refused))
        return extra


def _is_managed(name: str) -> bool:
    """What delivery rests on, and what only a program can give: callbacks and loggers."""
    return name in MANAGED_PROPERTIES or name == "logger" or name.startswith("enable.auto.") or name.endswith("_cb")


def _why_managed(name: str) -> str:
    setting = MANAGED_PROPERTIES.get(name)
    return f"{name} may not be set here, " + (f"use {setting}" if setting else "the consumer rules it")


class TopicSettings(Section):
    jobs: Text = "inspection.jobs"
    results: Text = "inspection.results"
    dead_letters: Text = "inspection.dead-letters"


class S3Settings(Section):
    endpoint_url: Text | None = None
    region: Text | None = None
    profile: Text | None = None
    path_style: bool | None = None

    @field_validator("endpoint_url")
    @classmethod
    def _refuse_secrets(cls, url: str | None) -> str | None:
        if url is not None and "@" in url:  # it is shown in messages
            raise ValueError("holds a user or password; S3 keys come from the environment, profile or role")
        return url


class ImageSettings(Section):
    allowed_buckets: Annotated[tuple[Text, ...], Field(min_length=1)]
    max_bytes: Size = ByteSize(32 * 2**20)
    max_pixels: Count = 50_000_000
    max_side: Count = 16_384
    decode: Literal["exact", "fast"] = "exact"
    not_found_grace: Seconds = 5.0
    unavailable_after: PositiveSeconds = 120.0

    def allows(self, bucket: str) -> bool:
        return "*" in self.allowed_buckets or bucket in self.allowed_buckets


class ModelSettings(Section):
    weights: Path | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    engine: Annotated[str, Field(pattern=r"^(auto|torch|openvino|onnxruntime|[A-Za-z_][\w.]*:[A-Za-z_]\w*)$")] = "auto"
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda|cuda:\d+)$")] = "auto"
    provider: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto"
    precision: Literal["auto", "f32", "f16", "bf16", "int8"] = "auto"
    image_size: Annotated[int, Field(ge=32, le=8192)] | None = None
    shapes: Literal["square", "rectangular"] = "square"
    confidence: Fraction = 0.25
    iou: Fraction = 0.7
    max_detections: Count = 300
    nms_free: bool | Literal["auto"] = "auto"


class BatchingSettings(Section):
    max_batch: Count = 16
    max_wait: Seconds = 0.005


class LimitSettings(Section):
    max_in_flight: Count = 256
    max_in_flight_bytes: Size = ByteSize(256 * 2**20)
    max_job_age: PositiveSeconds | None = None
    job_deadline: PositiveSeconds = 60.0
    startup_timeout: PositiveSeconds = 60.0
    dead_letter_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    dead_letter_run: Annotated[int, Field(ge=0)] = 100


class DeliverySettings(Section):
    mode: Literal["exactly_once", "at_least_once"] = "exactly_once"
    interval: Seconds = 0.2
    slot: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,128}$")] = "auto"
    drain_timeout: PositiveSeconds = 8.0


class AuditSettings(Section):
    bucket: Text | None = None
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._=-]+(/[A-Za-z0-9._=-]+)*$")] = "audit/v1"
    group_id: Text | None = None
    max_rows: Count = 100_000
    max_bytes: Size = ByteSize(64 * 2**20)
    max_age: PositiveSeconds = 300.0
    max_buffered_bytes: Size = ByteSize(256 * 2**20)
    encryption: Literal["bucket", "AES256", "aws:kms"] = "bucket"
    kms_key_id: Text | None = None
    object_lock: Literal["none", "GOVERNANCE", "COMPLIANCE"] = "none"
    retention_days: Count | None = None
    signing_key: SecretStr | None = None
    signing_key_file: Path | None = None
    public_key: Text | None = None

    @model_validator(mode="after")
    def _belong_together(self) -> "AuditSettings":
        if (self.object_lock == "none") != (self.retention_days is None):
            raise ValueError("object_lock and retention_days go together: set both or none")
        if self.kms_key_id is not None and self.encryption != "aws:kms":
            raise ValueError("kms_key_id needs encryption: aws:kms")
        if self.signing_key is not None and self.signing_key_file is not None:
            raise ValueError("signing_key and signing_key_file are both set: one of them")
        return self


class HttpSettings(Section):
    host: Text = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080


class LoggingSettings(Section):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["auto", "json", "text"] = "auto"


class Settings(BaseSettings):
    """All sections. Build it with `load`, which names every problem at once."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    s3: S3Settings = S3Settings()
    images: ImageSettings
    model: ModelSettings = ModelSettings()
    batching: BatchingSettings = BatchingSettings()
    limits: LimitSettings = LimitSettings()
    delivery: DeliverySettings = DeliverySettings()
    audit: AuditSettings = AuditSettings()
    http: HttpSettings = HttpSettings()
    logging: LoggingSettings = LoggingSettings()

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return *_variables(settings_cls), init_settings  # init_settings is the file's content


class _Variables(EnvSettingsSource):
    """Text that should be JSON and is not stays text: its key is then named beside all other problems."""

    def decode_complex_value(self, field_name: str, field: Any, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


def _variables(settings_cls: type[BaseSettings]) -> tuple[_Variables, _Variables]:
    """Those of the environment, and the secret files as if they were ones."""
    secrets = _Variables(settings_cls)
    secrets.env_vars = {name.lower(): text for name, (text, _) in _secret_files().items()}
    return _Variables(settings_cls), secrets


@dataclass(frozen=True, slots=True)
class Sources:
    """What each place says, before it is put together: sections by name, and the files that were read."""

    environment: dict[str, Any]
    secrets: dict[str, Any]
    sections: dict[str, Any]
    file: Path | None
    secret_files: dict[str, Path]


def read_sources(file: Path | None = None) -> Sources:
    """The places that `load` reads. Raises `SettingsError` for a file that cannot be read."""
    path = _settings_file(file)
    environment, secrets = _variables(Settings)
    files = {name: found for name, (_, found) in _secret_files().items()}
    return Sources(environment(), secrets(), _read(path), path, files)


def load(file: Path | None = None, *, inspects: bool = True) -> Settings:
    """Read `file`, else `CONSUMER_SETTINGS`, else `./settings.yaml`, else defaults; then secrets and environment.

    A command that inspects nothing need not be told of buckets: with `inspects=False` none named means any.
    Raises `SettingsError` with one line per problem, all of them at once.
    """
    path = _settings_file(file)
    sections: dict[str, Any] = {"images": {}} | _read(path)  # so that what is missing is its key
    if not inspects and isinstance(sections["images"], dict):
        sections["images"] = {"allowed_buckets": ["*"]} | sections["images"]
    unknown = [*_unknown_variables(), *(name for name in sections if name not in Settings.model_fields)]
    problems = [f"{name}: there is no such section" for name in unknown]
    settings = None
    try:
        settings = Settings(**{name: sections[name] for name in Settings.model_fields if name in sections})
    except ValidationError as error:
        problems += [_describe(problem) for problem in error.errors()]
    if problems or settings is None:
        raise SettingsError(f"settings ({path or 'no file'}): " + "\n".join(problems))
    return settings


def _settings_file(file: Path | None) -> Path | None:
    named = file or (Path(text) if (text := os.environ.get("CONSUMER_SETTINGS")) else None)
    try:
        is_there = named is None or named.is_file()
    except OSError as error:  # a folder on the way that may not be entered
        raise SettingsError(f"settings file {named} cannot be read: {error.strerror}") from error
    if not is_there:
        raise SettingsError(f"settings file {named} does not exist")
    default = Path("settings.yaml")
    return named or (default if default.is_file() else None)


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"settings file {path} cannot be read: {_fact(error)}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"settings file {path} holds a {type(content).__name__}, expected sections")
    # An empty section (`kafka:` with every key commented out) means its defaults.
    return {str(name): {} if section is None else section for name, section in content.items()}


def _fact(error: Exception) -> str:
    """What is wrong and where, without the line itself: it may hold a password."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())


def _secret_files() -> dict[str, tuple[str, Path]]:
    """Text and file of each secret, by the name of the variable that it stands for."""
    folder = os.environ.get("CONSUMER_SECRETS_DIR")
    if not folder:
        return {}
    if not Path(folder).is_dir():
        raise SettingsError(f"CONSUMER_SECRETS_DIR {folder} is not a folder")
    found = {}
    for path in sorted(Path(folder).iterdir()):
        if path.is_file() and path.name.upper().startswith(PREFIX):
            try:
                found[path.name] = (path.read_text(encoding="utf-8").strip(), path)
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"secret file {path} cannot be read: {error}") from error
    return found


def _unknown_variables() -> Iterator[str]:
    names = [*os.environ, *_secret_files()]
    for name in names:
        section = name.upper().removeprefix(PREFIX).split("__")[0].lower()
        if name.upper().startswith(PREFIX) and section not in Settings.model_fields:
            yield name


def _describe(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "settings"
    message = problem["msg"].removeprefix("Value error, ")
    match problem["type"]:
        case "missing":
            return f"{key}: required, not set"
        case "extra_forbidden":
            return f"{key}: there is no such key"
        case "value_error":
            return f"{key}: {message}"
        case _ if "." not in key or key.startswith(("kafka.extra", "audit.signing_key")):  # may hold a secret
            return f"{key}: {message}"
        case _:
            return f"{key}: {message}, got {problem['input']!r}"
