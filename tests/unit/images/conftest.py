"""A store that says what it is told, and credentials that come from nowhere else than the test."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consumer.images.store import ImageStore
from consumer.settings import ImageSettings, S3Settings
from tests.unit.images.stub import StubStore

MakeStore = Callable[..., ImageStore]


@pytest.fixture(scope="session", autouse=True)
def _only_these_credentials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder: Path = tmp_path_factory.mktemp("aws")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ACCESS_KEY_ID", "key-of-the-test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-test")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
        yield


@pytest.fixture(scope="session")
def _stub() -> Iterator[StubStore]:
    with StubStore() as stub:
        yield stub


@pytest.fixture
def stub(_stub: StubStore) -> StubStore:
    """A store that knows no key until it is told what to say."""
    _stub.reset()
    return _stub


@pytest.fixture(scope="session")
def make_store(_stub: StubStore) -> MakeStore:
    """`make_store(max_bytes=…, clock=…, buckets=…)`: an ImageStore on the stub."""

    def make(
        *,
        buckets: tuple[str, ...] = ("parts",),
        max_bytes: int = 1000,
        endpoint_url: str | None = None,
        clock: Callable[[], float] | None = None,
    ) -> ImageStore:
        images = ImageSettings.model_validate({"allowed_buckets": buckets, "max_bytes": max_bytes})
        s3 = S3Settings(endpoint_url=endpoint_url or _stub.endpoint_url)
        return ImageStore(s3, images, clock=clock) if clock else ImageStore(s3, images)

    return make


@pytest.fixture(scope="session")
def store(make_store: MakeStore) -> ImageStore:
    """One for all tests that need no other settings: making one takes a tenth of a second."""
    return make_store()
