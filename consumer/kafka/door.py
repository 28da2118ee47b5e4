"""What keeps a broker from letting us in? Asked at its door by a connection of our own.

librdkafka tells a bad password well, but has one message for every certificate that it does not trust, and none at all
for a listener that speaks another security protocol: to it the broker has hung up, as one that restarts does.
"""

import contextlib
import socket
import ssl
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from consumer.settings import Settings

TIMEOUT = 2.0  # of connecting, and of each answer
ALERT_WITHIN = 0.3
MOST_SERVERS = 2
LONGEST_ANSWER = 64 * 1024

_SASL_HANDSHAKE, _VERSION, _CORRELATION = 17, 1, 7
_NOT_BY_SASL = 34  # ILLEGAL_SASL_STATE
_OF_UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21})  # OpenSSL's X509_V_ERR_…
_CERTIFICATE_ALERTS = ("CERTIFICATE", "UNKNOWN_CA")


class Closed(Exception):
    """No answer in Kafka's protocol came; a broker that starts or stops does the same."""


class Refusal(Exception):
    """What a person must mend, with the broker's address."""


def why_refused(settings: Settings) -> str | None:
    """The fact that waiting does not mend, or None where nothing is wrong or nobody is there."""
    for server in settings.kafka.bootstrap_servers.split(",")[:MOST_SERVERS]:
        try:
            _knock(server.strip(), settings.kafka.extra)
        except Refusal as refusal:
            return str(refusal)
        except (OSError, ValueError, Closed):  # nobody there, or what librdkafka alone can read
            continue
    return None


def _knock(server: str, extra: Mapping[str, Any]) -> None:
    protocol = str(extra.get("security.protocol", "plaintext")).upper()
    said = f"kafka.extra says security.protocol {protocol}"
    try:
        error, mechanisms = _over_tls(server, extra) if "SSL" in protocol else _ask(_connect(server))
    except Closed:
        if "SSL" in protocol and _speaks_kafka(server):
            raise Refusal(f"{server} speaks without TLS, {said}") from None
        if "SSL" not in protocol and _speaks_tls(server):
            raise Refusal(f"{server} speaks TLS, {said}") from None
        raise
    offered = ", ".join(mechanisms)
    if "SASL" not in protocol:
        if error != _NOT_BY_SASL:
            raise Refusal(f"{server} wants a login by SASL ({offered}), {said}")
    elif error == _NOT_BY_SASL:
        raise Refusal(f"{server} knows no login by SASL, {said}")
    elif (mechanism := _mechanism(extra)) not in mechanisms:
        raise Refusal(f"{server} does not offer sasl.mechanism {mechanism}, it offers {offered}")


def _mechanism(extra: Mapping[str, Any]) -> str:
    return str(extra.get("sasl.mechanism") or extra.get("sasl.mechanisms") or "GSSAPI")


# --- what is asked ----------------------------------------------------------------------------------------------------


def _ask(connection: socket.socket) -> tuple[int, list[str]]:
    """The error of a SaslHandshake for no mechanism, and those there are; any listener answers it to anybody. Raises
    Closed."""
    body = struct.pack(">hhihh", _SASL_HANDSHAKE, _VERSION, _CORRELATION, -1, 0)
    with connection, contextlib.suppress(ConnectionError, ssl.SSLEOFError, struct.error):
        connection.sendall(struct.pack(">i", len(body)) + body)
        size, correlation = struct.unpack(">ii", _read(connection, 8))
        if correlation == _CORRELATION and size < LONGEST_ANSWER:
            return _mechanisms(_read(connection, size - 4))
    raise Closed


def _mechanisms(answer: bytes) -> tuple[int, list[str]]:
    error, count = struct.unpack_from(">hi", answer)
    names, at = [], 6
    for _ in range(count):
        (length,) = struct.unpack_from(">h", answer, at)
        names.append(answer[at + 2 : at + 2 + length].decode())
        at += 2 + length
    return error, names


def _read(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = connection.recv(count - len(found))
        if not part:
            raise Closed
        found += part
    return found


def _connect(server: str) -> socket.socket:
    return socket.create_connection(_address(server), timeout=TIMEOUT)


def _address(server: str) -> tuple[str, int]:
    """Of `host`, `host:port`, `[address]:port`, with a protocol in front or none."""
    host, colon, port = server.rpartition("://")[2].rpartition(":")
    return (host.strip("[]"), int(port)) if colon else (port, 9092)


def _speaks_kafka(server: str) -> bool:
    with contextlib.suppress(Closed):
        _ask(_connect(server))
        return True
    return False


# --- TLS --------------------------------------------------------------------------------------------------------------


def _over_tls(server: str, extra: Mapping[str, Any]) -> tuple[int, list[str]]:
    context, host = _context(extra), _address(server)[0]
    try:
        with context.wrap_socket(_connect(server), server_hostname=host) as connection:
            _hear_alert(connection)
            return _ask(connection)
    except ssl.SSLCertVerificationError as error:
        advice = " (kafka.extra: ssl.ca.location)" if error.verify_code in _OF_UNKNOWN_AUTHORITY else ""
        raise Refusal(f"{server} shows a certificate that we do not trust: {error.verify_message}{advice}") from error
    except ssl.SSLError as error:
        if any(alert in (error.reason or "") for alert in _CERTIFICATE_ALERTS):
            raise Refusal(f"{server} {_about_our_certificate(extra, error.reason)}") from error
        raise Closed from error
    except ConnectionError as error:
        raise Closed from error


def _hear_alert(connection: ssl.SSLSocket) -> None:
    """With TLS 1.3 our certificate is refused after the handshake; what we had sent by then would be answered with a
    reset, and that drops the alert. Raises ssl.SSLError for one."""
    connection.settimeout(ALERT_WITHIN)
    with contextlib.suppress(TimeoutError):
        connection.recv(1)
    connection.settimeout(TIMEOUT)


def _context(extra: Mapping[str, Any]) -> ssl.SSLContext:
    """As librdkafka makes its own. Raises ValueError for what only librdkafka can read."""
    if unread := [name for name in extra if name.startswith(("ssl.keystore", "ssl.certificate.pem", "ssl.engine"))]:
        raise ValueError(unread)
    context = ssl.create_default_context()
    if (authorities := str(extra.get("ssl.ca.location", "probe"))) != "probe":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        is_folder = Path(authorities).is_dir()
        context.load_verify_locations(**{"capath" if is_folder else "cafile": authorities})
    if pem := extra.get("ssl.ca.pem"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=str(pem))
    context.check_hostname = extra.get("ssl.endpoint.identification.algorithm", "https") != "none"
    if str(extra.get("enable.ssl.certificate.verification", True)).lower() == "false":
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate := extra.get("ssl.certificate.location"):
        context.load_cert_chain(str(certificate), extra.get("ssl.key.location"), str(extra.get("ssl.key.password", "")))
    return context


def _speaks_tls(server: str) -> bool:
    """Whether anything of TLS comes back; what it says of certificates does not matter."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        context.wrap_socket(_connect(server)).close()
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except OSError:
        return False
    return True


def _about_our_certificate(extra: Mapping[str, Any], alert: str) -> str:
    certificate = extra.get("ssl.certificate.location")
    if certificate is None:
        return "wants a certificate of the client, kafka.extra has none (ssl.certificate.location, ssl.key.location)"
    why = _trouble_of(str(certificate), extra) or f"it says {alert.lower().rpartition('alert_')[2].replace('_', ' ')}"
    return f"does not accept our certificate {certificate} (kafka.extra: ssl.certificate.location): {why}"


def _trouble_of(certificate: str, extra: Mapping[str, Any]) -> str | None:
    """What is wrong with our own certificate in itself, such as its dates: shown to ourselves, in memory."""
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours.check_hostname, ours.verify_mode = False, ssl.CERT_NONE
    judge = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    judge.verify_mode = ssl.CERT_REQUIRED
    judge.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    judge.load_verify_locations(cafile=certificate)
    for context in (ours, judge):
        context.load_cert_chain(certificate, extra.get("ssl.key.location"), str(extra.get("ssl.key.password", "")))
    to_us, to_judge = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (ours.wrap_bio(to_us, to_judge), judge.wrap_bio(to_judge, to_us, server_side=True))
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
    return None
