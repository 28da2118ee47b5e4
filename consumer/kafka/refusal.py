"""Why does no broker answer us, and can waiting mend it?"""

from collections.abc import Sequence
from urllib.parse import urlsplit

from confluent_kafka import KafkaError

from consumer.errors import SettingsError, Unavailable
from consumer.kafka.client import REFUSED_CREDENTIALS, describe
from consumer.kafka.door import why_refused
from consumer.settings import Settings

_NO_TOKEN = "Failed to acquire SASL OAUTHBEARER token: "  # noqa: S105  # librdkafka's words
# A token server that says one of these has understood us (RFC 6749, 5.2); all else may pass, as its restart does.
_TOKEN_REFUSED = (
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "unauthorized_client",
    "unsupported_grant_type",
    "access_denied",
    "unexpired token",
    "SSL certificate",
)


def no_answer(settings: Settings, refusals: Sequence[KafkaError], cause: KafkaError) -> SettingsError | Unavailable:
    """The error to raise when no broker answered. `refusals`: what the client's error_cb has heard meanwhile."""
    servers = settings.kafka.bootstrap_servers
    heard = next((refusal for refusal in (*refusals, cause) if refusal.code() in REFUSED_CREDENTIALS), None)
    if heard is not None and heard.str().startswith(_NO_TOKEN):
        return _without_token(settings, heard.str().removeprefix(_NO_TOKEN))
    fact = why_refused(settings)
    if heard is not None and heard.code() != KafkaError._SSL:
        return SettingsError(f"kafka: {servers} refuses the credentials{_whose(settings)}: {fact or describe(heard)}")
    if fact is not None:
        return SettingsError(f"kafka: {fact}")
    if heard is not None:
        return SettingsError(f"kafka: no TLS with {servers}: {describe(heard)}")
    # The longest tells most: librdkafka leaves its explanation out now and then ("… a PLAINTEXT broker listener?").
    told = max(refusals, key=lambda refusal: len(refusal.str()), default=cause)
    return Unavailable("broker", f"kafka broker {servers} does not answer: {describe(told)}")


def _without_token(settings: Settings, fact: str) -> SettingsError | Unavailable:
    server = urlsplit(str(settings.kafka.extra.get("sasl.oauthbearer.token.endpoint.url", "")))
    place = server.netloc.rpartition("@")[2] + server.path  # without a password
    message = f"kafka: no token from {place}{_whose(settings)}: {fact}"
    is_refused = any(words in fact for words in _TOKEN_REFUSED)
    return SettingsError(message) if is_refused else Unavailable("broker", message)


def _whose(settings: Settings) -> str:
    extra = settings.kafka.extra
    if client := extra.get("sasl.oauthbearer.client.id"):
        return f" of client {client}"
    return f" of user {user}" if (user := extra.get("sasl.username")) else ""
