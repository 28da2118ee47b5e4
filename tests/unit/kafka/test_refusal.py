"""When no broker answers: is it for a person to mend, or may it pass?"""

from typing import Any

import pytest
from confluent_kafka import KafkaError

from consumer.errors import SettingsError, Unavailable
from consumer.kafka.refusal import no_answer
from consumer.settings import KafkaSettings, Settings

NO_ANSWER = KafkaError(KafkaError._TRANSPORT, "Failed to get metadata")
NO_TOKEN = "Failed to acquire SASL OAUTHBEARER token: "


def settings(**extra: str) -> Settings:
    named: dict[str, Any] = {name.replace("_", "."): value for name, value in extra.items()}
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:9", extra=named)
    return Settings(kafka=kafka, images={"allowed_buckets": ["*"]})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fact", "kind"),
    [
        ('{"error": "invalid_client"}', SettingsError),
        ('{"error":"invalid_scope","error_description":"no such scope"}', SettingsError),
        ("Must supply an unexpired token: now=2ms, exp=1ms", SettingsError),
        ("SSL certificate OpenSSL verify result: unable to get local issuer certificate (20)", SettingsError),
        ("Failed to connect to 127.0.0.1:9 after 0 ms: Could not connect to server", Unavailable),
        ("Recv failure: Connection reset by peer", Unavailable),
        ("Timeout was reached", Unavailable),
        ("<html>503 Service Unavailable</html>", Unavailable),
    ],
)
def test_a_token_server_that_is_away_may_come_back_and_one_that_refuses_us_will_not(
    fact: str, kind: type[Exception]
) -> None:
    url = "https://user:hidden@login.example/token?key=hidden"
    told = settings(sasl_oauthbearer_token_endpoint_url=url, sasl_oauthbearer_client_id="line")
    error = no_answer(told, [KafkaError(KafkaError._AUTHENTICATION, NO_TOKEN + fact)], NO_ANSWER)

    assert type(error) is kind
    assert str(error) == f"kafka: no token from login.example/token of client line: {fact}"


def test_refused_credentials_are_a_persons_to_mend_and_the_user_is_named() -> None:
    refusals = [NO_ANSWER, KafkaError(KafkaError._AUTHENTICATION, "SASL authentication error: Authentication failed")]
    error = no_answer(settings(sasl_username="line", sasl_password="hidden"), refusals, NO_ANSWER)

    assert isinstance(error, SettingsError)
    assert "127.0.0.1:9 refuses the credentials of user line: _AUTHENTICATION: SASL authentication error" in str(error)
    assert "hidden" not in str(error)


def test_what_says_nothing_of_credentials_may_pass_and_the_longest_word_is_told() -> None:
    refusals = [
        KafkaError(KafkaError._TRANSPORT, "Disconnected"),
        KafkaError(KafkaError._TRANSPORT, "Disconnected: why"),
    ]
    error = no_answer(settings(), refusals, NO_ANSWER)

    assert isinstance(error, Unavailable)
    assert str(error) == "kafka broker 127.0.0.1:9 does not answer: _TRANSPORT: Disconnected: why"
