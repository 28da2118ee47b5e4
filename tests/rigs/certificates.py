"""Which certificates do a secured broker, its clients and a token server show each other?"""

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """Files of a certificate with its chain, and of its key."""

    certificate: Path
    key: Path

    @property
    def of_a_server(self) -> ssl.SSLContext:
        """What a server shows that has this pair."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


@dataclass(frozen=True)
class Certificates:
    """A certificate authority of one test run; what it issues lies as PEM in `folder`."""

    folder: Path
    authority: trustme.CA = field(default_factory=trustme.CA)

    @property
    def ca_file(self) -> Path:
        path = self.folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(path))
        return path

    def issue(self, name: str, *, host: str = "127.0.0.1", until: datetime | None = None) -> Pair:
        """For `host`, with `name` as its common name, valid `until` then (by default for years)."""
        leaf = self.authority.issue_cert(host, common_name=name, not_after=until)
        pair = Pair(self.folder / f"{name}-{host}.pem", self.folder / f"{name}-{host}.key")
        pair.certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        pair.key.write_bytes(_pkcs8(leaf.private_key_pem.bytes()))
        return pair

    def keystore(self, name: str, *, host: str = "127.0.0.1", until: datetime | None = None) -> Path:
        """A key and its certificate in one file, as Kafka's PEM keystores want it."""
        pair = self.issue(name, host=host, until=until)
        path = pair.certificate.with_suffix(".store")
        path.write_bytes(pair.key.read_bytes() + pair.certificate.read_bytes())
        return path


def _pkcs8(key: bytes) -> bytes:
    """The one encoding of a key that Java reads."""
    return load_pem_private_key(key, None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
