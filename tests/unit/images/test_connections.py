"""What is told of a store that is not reached: where, why, and what to do?"""

import socketserver
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from consumer.demo.ports import free_port
from consumer.errors import SettingsError, Unavailable
from consumer.images.access import S3Access
from consumer.images.listing import listed
from consumer.settings import S3Settings
from tests.rigs.certificates import YESTERDAY, Certificates
from tests.unit.images.conftest import MakeStore
from tests.unit.images.stub import StubStore

Ask = Callable[[str], object]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=["obstore", "boto3"])
def ask(request: pytest.FixtureRequest, make_store: MakeStore) -> Ask:
    """Ask a store at an address for something, with the one client or the other."""
    if request.param == "obstore":
        return lambda url: make_store(endpoint_url=url).check()
    return lambda url: list(listed(S3Access(S3Settings(endpoint_url=url)), "parts"))


def test_a_store_that_is_trusted_is_asked(
    certificates: Certificates, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates.ca_file))
    with StubStore(tls=certificates.issue("store").of_a_server) as store:
        make_store(endpoint_url=store.endpoint_url).check()
        assert len(store.requests) == 1


def test_an_authority_that_is_not_known_ends_it_at_once(ask: Ask, certificates: Certificates) -> None:
    """No waiting would mend it."""
    with StubStore(tls=certificates.issue("store").of_a_server) as store:
        with pytest.raises(SettingsError, match=r"unknown issuer|unable to get local issuer certificate") as raised:
            ask(store.endpoint_url)
        assert store.endpoint_url in str(raised.value)
    assert "certificate (" in str(raised.value)
    assert "AWS_CA_BUNDLE names a file of authorities to trust" in str(raised.value)


@pytest.mark.parametrize(
    ("host", "is_over", "fact"),
    [
        ("elsewhere.example", False, "not valid for name|doesn't match"),
        ("127.0.0.1", True, "expired"),
    ],
)
def test_another_name_or_a_time_that_is_over_is_named(
    ask: Ask, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, *, host: str, is_over: bool, fact: str
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates.ca_file))
    pair = certificates.issue(f"store-{is_over}", host=host, until=YESTERDAY if is_over else None)
    with StubStore(tls=pair.of_a_server) as store, pytest.raises(SettingsError, match=rf"certificate \(.*({fact})"):
        ask(store.endpoint_url)


def test_a_store_that_is_not_there_is_waited_for_and_the_reason_named(make_store: MakeStore) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Unavailable, match=rf"network \({url}: Connection refused\)"):
        make_store(endpoint_url=url).check()


def test_a_host_that_nobody_knows_is_named(make_store: MakeStore) -> None:
    url = "http://no-such-host.invalid:9000"
    with pytest.raises(Unavailable, match=rf"network \({url}: .*lookup"):
        make_store(endpoint_url=url).check()


def test_a_store_without_tls_is_told(make_store: MakeStore) -> None:
    class Plain(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1000)
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Plain) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), name="plain").start()
        url = f"https://127.0.0.1:{server.server_address[1]}"
        with pytest.raises(Unavailable, match=rf"network \({url}: no TLS is spoken there\)"):
            make_store(endpoint_url=url).check()
        server.shutdown()


def test_a_bundle_of_authorities_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    with pytest.raises(SettingsError, match=r"missing\.pem"):
        S3Access(S3Settings())
