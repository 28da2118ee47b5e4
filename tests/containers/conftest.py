"""A Docker engine, the images, and the whole system: made when a test first asks."""

from collections.abc import Iterator

import pytest

from tests.containers.engine import NoDocker, environment, find_client
from tests.containers.images import Images, build_images
from tests.containers.system import System, open_system


@pytest.fixture(scope="session")
def docker() -> Iterator[str]:
    """The client to use. No skip: whoever runs these tests asked for Docker."""
    try:
        client = find_client()
        variables = environment(client)
    except NoDocker as error:
        pytest.fail(str(error))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield client


@pytest.fixture(scope="session")
def images(docker: str) -> Images:
    return build_images(docker)


@pytest.fixture(scope="session")
def system(docker: str, images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with open_system(docker, images, tmp_path_factory.mktemp("system")) as opened:
        yield opened
