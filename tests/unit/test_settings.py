"""Is what runs what was said, and is everything that was said wrong named at once?"""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer.errors import SettingsError
from consumer.settings import MANAGED_PROPERTIES, ImageSettings, KafkaSettings, Settings, load

ROOT = Path(__file__).parents[2]
SECRET = "geheim-17"


class Place:
    """An empty folder to start from, without any CONSUMER variable."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._patch = patch
        for name in [name for name in os.environ if name.upper().startswith("CONSUMER")]:
            patch.delenv(name)
        patch.chdir(folder)

    def file(self, text: str, name: str = "settings.yaml") -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def variable(self, name: str, text: str) -> None:
        self._patch.setenv(name, text)

    def secret(self, name: str, content: bytes) -> None:
        folder = self.folder / "secrets"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        self.variable("CONSUMER_SECRETS_DIR", str(folder))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    place = Place(tmp_path, monkeypatch)
    place.file("images: {allowed_buckets: [parts]}\n")
    return place


def problems(file: Path | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(file)
    assert caught.value.exit_code == 2
    first, *others = str(caught.value).splitlines()
    return [re.sub(r"^settings \([^)]*\): ", "", first), *others]


# --- where they come from -----------------------------------------------------------------------------------------


def test_without_a_file_the_defaults_hold(place: Place) -> None:
    (place.folder / "settings.yaml").unlink()
    place.variable("CONSUMER__IMAGES__ALLOWED_BUCKETS", '["parts"]')

    assert load() == Settings(images=ImageSettings(allowed_buckets=("parts",)))


def test_environment_wins_over_secrets_and_secrets_over_the_file(place: Place) -> None:
    place.file("images: {allowed_buckets: [a]}\nkafka: {group_id: file, bootstrap_servers: file:1, start: latest}\n")
    place.secret("CONSUMER__KAFKA__BOOTSTRAP_SERVERS", b"secret:1\n")
    place.secret("CONSUMER__KAFKA__GROUP_ID", b"secret")
    place.variable("CONSUMER__KAFKA__GROUP_ID", "environment")
    kafka = load().kafka

    assert (kafka.group_id, kafka.bootstrap_servers, kafka.start) == ("environment", "secret:1", "latest")
    assert kafka.group_protocol == "classic"


def test_the_file_is_the_named_one_else_that_of_the_environment_else_the_one_here(place: Place) -> None:
    text = "images: {{allowed_buckets: [{}]}}\n"
    place.file(text.format("here"))
    assert load().images.allowed_buckets == ("here",)

    place.variable("CONSUMER_SETTINGS", str(place.file(text.format("variable"), "b.yaml")))
    assert load().images.allowed_buckets == ("variable",)
    assert load(place.file(text.format("named"), "c.yaml")).images.allowed_buckets == ("named",)


def test_lists_and_maps_come_as_json_and_maps_are_merged(place: Place) -> None:
    place.file(
        "images: {allowed_buckets: [a, b]}\nkafka: {extra: {security.protocol: SASL_SSL, sasl.password: file}}\n"
    )
    place.secret("CONSUMER__KAFKA__EXTRA", b'{"sasl.password": "secret"}')
    place.variable("CONSUMER__IMAGES__ALLOWED_BUCKETS", '["c"]')
    settings = load()

    assert settings.images.allowed_buckets == ("c",)
    assert settings.kafka.extra == {"security.protocol": "SASL_SSL", "sasl.password": "secret"}


def test_a_whole_section_may_come_as_json(place: Place) -> None:
    place.variable("CONSUMER__KAFKA", '{"group_id": "json", "start": "latest"}')
    place.variable("CONSUMER__KAFKA__START", "earliest")
    kafka = load().kafka

    assert (kafka.group_id, kafka.start) == ("json", "earliest")


def test_scalars_come_as_text(place: Place) -> None:
    for key, text in {
        "LIMITS__MAX_IN_FLIGHT_BYTES": "2MiB",
        "LIMITS__MAX_JOB_AGE": "3600",
        "MODEL__NMS_FREE": "true",
        "S3__PATH_STYLE": "false",
        "HTTP__PORT": "0",
    }.items():
        place.variable(f"CONSUMER__{key}", text)
    settings = load()

    assert settings.limits.max_in_flight_bytes == 2 * 2**20
    assert settings.limits.max_job_age == 3600.0
    assert settings.model.nms_free is True
    assert settings.s3.path_style is False
    assert settings.http.port == 0


@pytest.mark.parametrize("text", ["", "kafka:\n", "kafka: {}\n", "# nothing but comments\n"])
def test_an_empty_section_means_its_defaults(place: Place, text: str) -> None:
    place.file(text + "images: {allowed_buckets: [parts]}\n" if text else text)
    place.variable("CONSUMER__IMAGES__ALLOWED_BUCKETS", '["parts"]')

    assert load().kafka == KafkaSettings()


def test_other_files_among_the_secrets_are_passed_over(place: Place) -> None:
    place.secret("..data", b"\xff")
    place.secret("tls.crt", b"\xff")
    (place.folder / "secrets" / "CONSUMER__FOLDER").mkdir()

    load()


# --- what is wrong with them --------------------------------------------------------------------------------------


def test_all_problems_are_named_at_once(place: Place) -> None:
    place.file("kafka: {group_id: 5, start: middle}\nlimits: {max_in_flight: 0, foo: 1}\nkafk: {}\n_env_file: {}\n")
    place.secret("CONSUMER__HTTP__NOPE", b"1")
    place.secret("CONSUMER__BAZ", b"1")
    place.variable("CONSUMER__FOO__BAR", "1")
    place.variable("CONSUMER__IMAGES__ALLOWED_BUCKETS", "parts")  # no JSON
    place.variable("CONSUMER__KAFKA__EXTRA", '{"sasl.password": "' + SECRET)  # nor this
    place.variable("CONSUMER__BATCHING__MAX_WAIT", "soon")

    assert sorted(problems()) == [
        "CONSUMER__BAZ: there is no such section",
        "CONSUMER__FOO__BAR: there is no such section",
        "_env_file: there is no such section",
        "batching.max_wait: Input should be a valid number, unable to parse string as a number, got 'soon'",
        "http.nope: there is no such key",
        "images.allowed_buckets: Input should be a valid tuple, got 'parts'",
        "kafk: there is no such section",
        "kafka.extra: Input should be a valid dictionary",
        "kafka.group_id: Input should be a valid string, got 5",
        "kafka.start: Input should be 'earliest' or 'latest', got 'middle'",
        "limits.foo: there is no such key",
        "limits.max_in_flight: Input should be greater than or equal to 1, got 0",
    ]


def test_the_allowed_buckets_must_be_said(place: Place) -> None:
    for text in ("", "images:\n", "kafka: {}\n"):
        place.file(text)
        assert problems() == ["images.allowed_buckets: required, not set"]
    place.file("images: {allowed_buckets: []}\n")
    assert problems()[0].startswith("images.allowed_buckets: Tuple should have at least 1 item")


@pytest.mark.parametrize("name", ["self", "__pydantic_self__", "_cli_parse_args", "1"])
def test_no_name_of_a_section_means_something_to_the_library(place: Place, name: str) -> None:
    place.file(f"images: {{allowed_buckets: [parts]}}\n{name}: 1\n")

    assert problems() == [f"{name}: there is no such section"]


@pytest.mark.parametrize(
    ("section", "key", "text"),
    [
        ("kafka", "bootstrap_servers", ""),
        ("images", "max_bytes", "0"),
        ("images", "max_bytes", "many"),
        ("images", "not_found_grace", "-1"),
        ("images", "unavailable_after", "0"),
        ("model", "sha256", "ABC"),
        ("model", "engine", "tensorflow"),
        ("model", "engine", "package.module:"),
        ("model", "device", "cuda:x"),
        ("model", "precision", "f64"),
        ("model", "image_size", "31"),
        ("model", "confidence", "1.1"),
        ("model", "nms_free", "sometimes"),
        ("batching", "max_batch", "0"),
        ("limits", "job_deadline", "inf"),
        ("limits", "dead_letter_ratio", "0"),
        ("limits", "dead_letter_run", "-1"),
        ("delivery", "mode", "at_most_once"),
        ("delivery", "slot", "a/b"),
        ("delivery", "slot", "a\n"),
        ("http", "port", "65536"),
        ("logging", "level", "TRACE"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(place: Place, section: str, key: str, text: str) -> None:
    place.variable(f"CONSUMER__{section}__{key}".upper(), text)

    assert all(problem.startswith(f"{section}.{key}") for problem in problems())


@pytest.mark.parametrize("engine", ["auto", "torch", "openvino", "onnxruntime", "tests.engines:constant", "a:b"])
def test_an_engine_is_one_of_ours_or_anyones(place: Place, engine: str) -> None:
    place.variable("CONSUMER__MODEL__ENGINE", engine)

    assert load().model.engine == engine


@pytest.mark.parametrize("name", [*MANAGED_PROPERTIES, "enable.auto.something.new"])
def test_a_property_that_delivery_rests_on_is_refused_by_name(place: Place, name: str) -> None:
    place.file(f"images: {{allowed_buckets: [parts]}}\nkafka: {{extra: {{{name}: x}}}}\n")
    (problem,) = problems()

    assert problem.startswith(f"kafka.extra: {name} may not be set here, ")
    setting = MANAGED_PROPERTIES.get(name)
    assert problem.endswith(f"use {setting}" if setting else "the consumer rules it")


@pytest.mark.parametrize(
    "text",
    [
        f"kafka: {{extra: [{SECRET}]}}",
        f"kafka: {{extra: {{sasl.password: [{SECRET}]}}}}",
        f"kafka: [{SECRET}]",
        f"kafka: {SECRET}",
        f"kafka: {{extra: {{sasl.password: {SECRET}",
        f"kafka:\n  extra:\n    sasl.password: '{SECRET}\n    other: 1\n",
        f"kafka: {{extra: {{sasl.password: {SECRET}, group.id: x}}}}",
    ],
)
def test_a_password_in_the_wrong_place_is_not_printed(place: Place, text: str) -> None:
    place.file(text)

    assert SECRET not in "\n".join(problems())


@pytest.mark.parametrize("text", [f'"{SECRET}"', SECRET, f'["{SECRET}"]', f'{{"extra": "{SECRET}"}}', f'{{"{SECRET}'])
def test_a_password_in_a_variable_is_not_printed(place: Place, text: str) -> None:
    place.variable("CONSUMER__KAFKA", text)

    assert all(problem.startswith("kafka") for problem in problems())
    assert SECRET not in "\n".join(problems())


@pytest.mark.parametrize(
    ("audit", "fact"),
    [
        ({"object_lock": "GOVERNANCE"}, "object_lock and retention_days go together"),
        ({"retention_days": 30}, "object_lock and retention_days go together"),
        ({"kms_key_id": "alias/audit"}, "kms_key_id needs encryption: aws:kms"),
        ({"kms_key_id": "alias/audit", "encryption": "AES256"}, "kms_key_id needs encryption: aws:kms"),
        ({"signing_key": "x", "signing_key_file": "/k.pem"}, "signing_key and signing_key_file are both set"),
        ({"prefix": "/audit"}, "audit.prefix: "),
        ({"prefix": "audit/../other/"}, "audit.prefix: "),
    ],
)
def test_what_an_audit_cannot_be_is_named(place: Place, audit: dict[str, object], fact: str) -> None:
    place.variable("CONSUMER__AUDIT", json.dumps(audit))

    with pytest.raises(SettingsError, match=fact):
        load(inspects=False)


@pytest.mark.parametrize("value", ['["geheim-17"]', '{"pem": "geheim-17"}'])
def test_a_signing_key_of_the_wrong_kind_is_not_printed(place: Place, value: str) -> None:
    place.variable("CONSUMER__AUDIT", f'{{"signing_key": {value}}}')

    with pytest.raises(SettingsError, match=r"audit\.signing_key: ") as caught:
        load(inspects=False)
    assert "geheim" not in str(caught.value)


def test_a_file_that_is_no_yaml_is_named_with_the_line(place: Place) -> None:
    place.file("kafka:\n  group_id: [\n")

    assert problems()[0].startswith("settings file settings.yaml cannot be read: line 3: ")


@pytest.mark.parametrize(
    ("content", "fact"),
    [(b"\xff", "cannot be read"), (b"a\x00b", "cannot be read"), (b"[1]", "holds a list, expected sections")],
)
def test_a_file_that_holds_no_settings_is_named(place: Place, content: bytes, fact: str) -> None:
    (place.folder / "settings.yaml").write_bytes(content)

    assert fact in problems()[0]


def test_a_file_that_is_named_must_exist(place: Place) -> None:
    assert problems(Path("nowhere.yaml")) == ["settings file nowhere.yaml does not exist"]
    place.variable("CONSUMER_SETTINGS", "nowhere-else.yaml")
    assert problems() == ["settings file nowhere-else.yaml does not exist"]


def test_a_secrets_folder_that_is_named_must_exist_and_be_readable(place: Place) -> None:
    place.variable("CONSUMER_SECRETS_DIR", "nowhere")
    assert problems() == ["CONSUMER_SECRETS_DIR nowhere is not a folder"]

    place.secret("CONSUMER__KAFKA__GROUP_ID", b"\xff\xfe")
    assert re.match(r"secret file \S+/CONSUMER__KAFKA__GROUP_ID cannot be read: 'utf-8'", problems()[0])


# --- settings.yaml ------------------------------------------------------------------------------------------------


def test_the_settings_file_documents_every_key_with_its_default(place: Place) -> None:
    text = (ROOT / "settings.yaml").read_text(encoding="utf-8")
    written: dict[str, dict[str, Any]] = yaml.safe_load(text)
    assert list(written) == list(Settings.model_fields)

    for section, part in Settings.model_fields.items():
        fields = part.annotation.model_fields  # type: ignore[union-attr]
        block = text.split(f"\n{section}:")[1].split("\n\n")[0]
        said = re.findall(r"^  (?:# )?(\w+):", block, re.MULTILINE)
        assert said == list(fields), section
        assert set(written[section] or {}) <= set(said)


def test_the_settings_file_says_the_real_defaults(place: Place) -> None:
    place.variable("CONSUMER__IMAGES__ALLOWED_BUCKETS", '["parts"]')

    assert load(ROOT / "settings.yaml") == Settings(images=ImageSettings(allowed_buckets=("parts",)))


def test_a_bucket_is_allowed_by_name_or_by_a_star() -> None:
    assert ImageSettings(allowed_buckets=("parts", "more")).allows("more")
    assert not ImageSettings(allowed_buckets=("parts",)).allows("part")
    assert ImageSettings(allowed_buckets=("*",)).allows("anything")


def test_a_command_that_inspects_nothing_needs_no_buckets_and_keeps_those_that_are_named(place: Place) -> None:
    assert load(inspects=False).images.allowed_buckets == ("parts",)

    for text in ("", "images:\n", "images: {max_side: 100}\n"):
        place.file(text)
        assert load(inspects=False).images.allowed_buckets == ("*",)


@pytest.mark.parametrize(
    ("variable", "text", "key"),
    [
        ("CONSUMER__S3__ENDPOINT_URL", f"http://user:{SECRET}@store:8333", "s3.endpoint_url"),
        ("CONSUMER__KAFKA__BOOTSTRAP_SERVERS", f"user:{SECRET}@broker:9092", "kafka.bootstrap_servers"),
        ("CONSUMER__S3", SECRET, "s3"),
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(place: Place, variable: str, text: str, key: str) -> None:
    place.variable(variable, text)

    (problem,) = problems()
    assert problem.startswith(f"{key}: ")
    assert SECRET not in problem
