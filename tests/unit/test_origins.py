"""Does `config show` say what is in force, where it comes from, and no secret?"""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from consumer.__main__ import app
from consumer.origins import Effective, effective_settings
from consumer.settings import Settings

SECRET = "geheim-17"
FILE = """
kafka: &kafka
  group_id: file
  start: latest
  extra: {security.protocol: SASL_SSL, sasl.password: geheim-17, ssl.key.location: /keys/tls.key}
images: {allowed_buckets: &buckets [parts, more]}
topics:
  <<: {jobs: merged}
  results: results
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A settings file in an empty folder that is the current one, no variable of ours."""
    for name in [name for name in os.environ if name.upper().startswith("CONSUMER")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    Path("settings.yaml").write_text(FILE)
    Path("secrets").mkdir()
    return monkeypatch


def shown() -> dict[str, Effective]:
    return {one.key: one for one in effective_settings(None)}


def test_every_key_is_shown_with_its_value_and_where_it_comes_from(place: pytest.MonkeyPatch) -> None:
    place.setenv("CONSUMER__KAFKA__GROUP_ID", "environment")
    place.setenv("CONSUMER__HTTP", '{"port": 9}')
    place.setenv("consumer__limits__max_in_flight_bytes", "2MiB")
    place.setenv("CONSUMER_SECRETS_DIR", "secrets")
    Path("secrets/CONSUMER__KAFKA__GROUP_ID").write_text("secret")
    Path("secrets/CONSUMER__KAFKA__BOOTSTRAP_SERVERS").write_text("broker:1\n")
    found = shown()

    assert {key.rpartition(".extra")[0] or key.partition(".")[0] for key in found} >= set(Settings.model_fields)
    for key, value, origin in (
        ("kafka.group_id", "environment", "environment CONSUMER__KAFKA__GROUP_ID"),
        ("kafka.bootstrap_servers", "broker:1", "secret file secrets/CONSUMER__KAFKA__BOOTSTRAP_SERVERS"),
        ("kafka.start", "latest", "file settings.yaml"),
        ("kafka.group_protocol", "classic", "default"),
        ("topics.jobs", "merged", "file settings.yaml"),
        ("topics.dead_letters", "inspection.dead-letters", "default"),
        ("http.port", 9, "environment CONSUMER__HTTP"),
        ("http.host", "127.0.0.1", "default"),
        ("limits.max_in_flight_bytes", 2 * 2**20, "environment consumer__limits__max_in_flight_bytes"),
        ("images.allowed_buckets", ("parts", "more"), "file settings.yaml"),
        ("model.weights", None, "default"),
    ):
        assert found[key] == Effective(key, value, origin)


def test_properties_of_one_map_come_from_different_places_and_passwords_from_none(place: pytest.MonkeyPatch) -> None:
    place.setenv("CONSUMER__KAFKA__EXTRA", json.dumps({"ssl.key.password": SECRET}))
    place.setenv("CONSUMER_SECRETS_DIR", "secrets")
    Path("secrets/CONSUMER__KAFKA").write_text(json.dumps({"extra": {"ssl.key.pem": SECRET, "sasl.username": "u"}}))
    extra = {
        key.removeprefix("kafka.extra."): (one.value, one.origin) for key, one in shown().items() if "extra" in key
    }

    assert extra == {
        "security.protocol": ("SASL_SSL", "file settings.yaml"),
        "sasl.password": ("***", "file settings.yaml"),
        "ssl.key.location": ("/keys/tls.key", "file settings.yaml"),
        "ssl.key.password": ("***", "environment CONSUMER__KAFKA__EXTRA"),
        "ssl.key.pem": ("***", "secret file secrets/CONSUMER__KAFKA"),
        "sasl.username": ("u", "secret file secrets/CONSUMER__KAFKA"),
    }


@pytest.mark.parametrize(
    "name",
    [
        "sasl.password",
        "SASL.Password",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl.keystore.password",
        "sasl.oauthbearer.config",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.client.credentials.client.secret",
        "sasl.oauthbearer.assertion.private.key.pem",
        "sasl.oauthbearer.assertion.private.key.passphrase",
        "sasl.jaas.config",
        "sasl.oauthbearer.extensions",
        "sasl.kerberos.kinit.cmd",
        "some.new.token",
    ],
)
def test_what_a_property_of_this_name_holds_is_hidden(place: pytest.MonkeyPatch, name: str) -> None:
    place.setenv("CONSUMER__KAFKA__EXTRA", json.dumps({name: SECRET}))
    assert shown()[f"kafka.extra.{name}"].value == "***"


@pytest.mark.parametrize(
    "name", ["sasl.username", "ssl.key.location", "ssl.ca.pem", "sasl.oauthbearer.token.endpoint.url", "client.rack"]
)
def test_where_a_secret_lies_is_none(place: pytest.MonkeyPatch, name: str) -> None:
    place.setenv("CONSUMER__KAFKA__EXTRA", json.dumps({name: "x"}))
    assert shown()[f"kafka.extra.{name}"].value == "x"


@pytest.mark.parametrize("url", [f"http://me:{SECRET}@store:8333", f"http://me:{SECRET}/@{SECRET}@store:8333"])
def test_a_password_in_an_address_is_hidden_and_the_address_is_not(place: pytest.MonkeyPatch, url: str) -> None:
    place.setenv("CONSUMER__KAFKA__EXTRA", json.dumps({"sasl.oauthbearer.token.endpoint.url": url}))
    found = shown()

    assert found["kafka.extra.sasl.oauthbearer.token.endpoint.url"].value == "http://***@store:8333"


def test_a_signing_key_is_hidden(place: pytest.MonkeyPatch) -> None:
    place.setenv("CONSUMER__AUDIT__SIGNING_KEY", SECRET)

    found = shown()["audit.signing_key"]

    assert (found.value, found.origin) == ("***", "environment CONSUMER__AUDIT__SIGNING_KEY")
    assert shown()["audit.prefix"].value == "audit/v1"


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_the_command_prints_a_line_for_each_key_and_no_secret(place: pytest.MonkeyPatch, arguments: list[str]) -> None:
    place.setenv("CONSUMER__KAFKA__EXTRA", json.dumps({"ssl.ca.pem": "-----BEGIN\nx\n", "ssl.key.pem": SECRET}))
    result = CliRunner().invoke(app, ["config", "show", *arguments])

    assert result.exit_code == 0
    assert SECRET not in result.output
    if arguments:
        assert {one["key"] for one in json.loads(result.stdout)} == set(shown())
    else:
        assert [line.split()[0] for line in result.stdout.splitlines()] == list(shown())


def test_settings_that_cannot_be_used_are_named_all_at_once(place: pytest.MonkeyPatch) -> None:
    place.setenv("CONSUMER__HTTP__PORT", "x")
    place.setenv("CONSUMER__LIMITS__NOPE", "1")
    place.setenv("CONSUMER__KAFKA__EXTRA", f'{{"sasl.password": {SECRET}')
    result = CliRunner().invoke(app, ["config", "show"])

    assert result.exit_code == 2
    assert result.stdout == ""
    assert [key in result.stderr for key in ("http.port", "limits.nope", "kafka.extra")] == [True] * 3
    assert SECRET not in result.output
