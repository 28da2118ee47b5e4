"""Does the consumer find out by itself why a broker does not let it in?"""

import ssl
from pathlib import Path

import pytest
import trustme

from consumer.kafka.door import why_refused
from consumer.settings import KafkaSettings, Settings
from tests.rigs.certificates import YESTERDAY, Certificates, Pair
from tests.rigs.listener import Listener

SCRAM = ("SCRAM-SHA-512", "PLAIN")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def tls(certificates: Certificates, pair: Pair, *, asks: bool = False) -> ssl.SSLContext:
    context = pair.of_a_server
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificates.ca_file)
    return context


def why(address: str, protocol: str, **extra: object) -> str | None:
    named = {name.replace("_", "."): str(value) for name, value in extra.items()}
    kafka = KafkaSettings(bootstrap_servers=address, extra={"security.protocol": protocol, **named})
    return why_refused(Settings(kafka=kafka, images={"allowed_buckets": ["*"]}))  # type: ignore[arg-type]


def test_a_listener_of_the_right_kind_is_no_reason(certificates: Certificates) -> None:
    ca = certificates.ca_file
    ours = certificates.issue("line")
    with (
        Listener() as plain,
        Listener(SCRAM) as password,
        Listener(SCRAM, tls=tls(certificates, certificates.issue("a"))) as both,
        Listener(tls=tls(certificates, certificates.issue("b"), asks=True)) as mutual,
    ):
        assert why(plain.address, "plaintext") is None
        assert why(password.address, "sasl_plaintext", sasl_mechanism="PLAIN") is None
        assert why(both.address, "sasl_ssl", ssl_ca_location=ca, sasl_mechanisms="SCRAM-SHA-512") is None
        keys = {"ssl_certificate_location": ours.certificate, "ssl_key_location": ours.key}
        assert why(mutual.address, "ssl", ssl_ca_location=ca, **keys) is None


@pytest.mark.parametrize(
    ("protocol", "with_tls", "mechanisms", "says"),
    [
        ("SSL", False, (), "speaks without TLS, kafka.extra says security.protocol SSL"),
        ("SASL_SSL", False, SCRAM, "speaks without TLS, kafka.extra says security.protocol SASL_SSL"),
        ("PLAINTEXT", True, (), "speaks TLS, kafka.extra says security.protocol PLAINTEXT"),
        ("PLAINTEXT", False, SCRAM, "wants a login by SASL (SCRAM-SHA-512, PLAIN), kafka.extra says"),
        ("SSL", True, SCRAM, "wants a login by SASL (SCRAM-SHA-512, PLAIN), kafka.extra says"),
        ("SASL_SSL", True, (), "knows no login by SASL, kafka.extra says security.protocol SASL_SSL"),
        ("SASL_PLAINTEXT", False, SCRAM, "does not offer sasl.mechanism GSSAPI, it offers SCRAM-SHA-512, PLAIN"),
    ],
)
def test_a_listener_of_another_kind_is_named(
    certificates: Certificates, protocol: str, with_tls: bool, mechanisms: tuple[str, ...], says: str
) -> None:
    context = tls(certificates, certificates.issue("broker")) if with_tls else None
    with Listener(mechanisms, tls=context) as listener:
        assert f"{listener.address} {says}" in str(
            why(listener.address, protocol, ssl_ca_location=certificates.ca_file)
        )


@pytest.mark.thorough
def test_what_is_wrong_with_a_brokers_certificate_is_named(certificates: Certificates, tmp_path: Path) -> None:
    another = tmp_path / "another.pem"
    trustme.CA().cert_pem.write_to_path(str(another))
    ca = {"ssl_ca_location": certificates.ca_file}
    with Listener(tls=tls(certificates, certificates.issue("expired", until=YESTERDAY))) as listener:
        fact = str(why(listener.address, "ssl", **ca))
        assert fact.endswith("shows a certificate that we do not trust: certificate has expired")
    with Listener(tls=tls(certificates, certificates.issue("broker", host="elsewhere.example"))) as listener:
        assert "certificate is not valid for '127.0.0.1'" in str(why(listener.address, "ssl", **ca))
        assert why(listener.address, "ssl", **ca, ssl_endpoint_identification_algorithm="none") is None
    with Listener(tls=tls(certificates, certificates.issue("broker"))) as listener:
        fact = str(why(listener.address, "ssl", ssl_ca_location=another))
        assert fact.endswith("unable to get local issuer certificate (kafka.extra: ssl.ca.location)")
        assert "ssl.ca.location" in str(why(listener.address, "ssl"))
        assert why(listener.address, "ssl", enable_ssl_certificate_verification=False) is None
        assert why(listener.address, "ssl", ssl_ca_pem=certificates.ca_file.read_text()) is None


def test_what_is_wrong_with_our_own_certificate_is_named(certificates: Certificates, tmp_path: Path) -> None:
    expired = certificates.issue("line", until=YESTERDAY)
    stranger = tmp_path / "stranger.pem"
    trustme.CA().issue_cert("line").private_key_and_cert_chain_pem.write_to_path(str(stranger))
    with Listener(tls=tls(certificates, certificates.issue("broker"), asks=True)) as listener:

        def why_not(**extra: object) -> str:
            return str(why(listener.address, "ssl", ssl_ca_location=certificates.ca_file, **extra))

        assert "wants a certificate of the client, kafka.extra has none" in why_not()
        fact = why_not(ssl_certificate_location=expired.certificate, ssl_key_location=expired.key)
        assert f"does not accept our certificate {expired.certificate}" in fact
        assert fact.endswith("certificate has expired")
        assert why_not(ssl_certificate_location=stranger).endswith("it says unknown ca")


def test_nobody_there_or_an_answer_of_another_kind_is_no_reason(certificates: Certificates) -> None:
    assert why("127.0.0.1:9", "plaintext") is None
    assert why("127.0.0.1:9,[::1]:9", "ssl", ssl_ca_location=certificates.ca_file) is None
    assert why("nowhere.invalid", "plaintext") is None
    with Listener(tls=tls(certificates, certificates.issue("broker"), asks=True)) as listener:
        assert why(listener.address, "ssl", ssl_keystore_location="line.p12") is None
        assert why(listener.address, "ssl", ssl_ca_location="/nowhere.pem") is None


def test_the_next_server_is_asked_when_the_first_is_away() -> None:
    with Listener(SCRAM) as listener:
        assert "wants a login by SASL" in str(why(f"127.0.0.1:9, PLAINTEXT://{listener.address}", "plaintext"))
