"""Do the demo's own broker and store keep the user's settings out, and the user's let them in?"""

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from consumer.errors import SettingsError
from consumer.showcase import surroundings
from consumer.showcase.surroundings import Wish, scratch

_Usage = namedtuple("_Usage", "total used free")


def test_an_almost_full_disk_is_told_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Usage(10**9, 10**9, 5 * 2**20))

    with pytest.raises(SettingsError, match=r"has 5 MB of free space, the demo needs 300: .*TMPDIR"), scratch():
        pass


def test_a_scratch_folder_is_gone_in_the_end() -> None:
    with scratch() as folder:
        (folder / "file").write_text("")
        assert folder.is_dir()

    assert not folder.exists()


def test_the_demos_own_servers_know_nothing_of_the_users_settings_and_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUMER__KAFKA__EXTRA", "{}")
    monkeypatch.setenv("CONSUMER_SECRETS_DIR", "/secrets")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere")
    monkeypatch.setenv("NO_PROXY", "localhost")
    before = dict(os.environ)

    with surroundings._environment(Wish(), {"AWS_ACCESS_KEY_ID": "key"}):
        mine = {name: value for name, value in os.environ.items() if name.startswith(("CONSUMER", "AWS"))}
        assert mine == {"AWS_ACCESS_KEY_ID": "key"}
        assert os.environ["NO_PROXY"] == "localhost,127.0.0.1"

    assert dict(os.environ) == before


def test_a_broker_and_a_store_of_the_users_are_spoken_to_with_their_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CONSUMER__KAFKA__EXTRA", '{"sasl.username": "me"}')
    monkeypatch.setenv("CONSUMER__KAFKA__GROUP_ID", "production")
    monkeypatch.setenv("AWS_PROFILE", "mine")

    with surroundings._environment(Wish(bootstrap_servers="kafka:9092", bucket="parts"), {}):
        assert os.environ["CONSUMER__KAFKA__EXTRA"] == '{"sasl.username": "me"}'
        assert os.environ["AWS_PROFILE"] == "mine"
        assert "CONSUMER__KAFKA__GROUP_ID" not in os.environ


def test_only_a_broker_with_transactions_is_delivered_to_exactly_once() -> None:
    assert Wish().delivery == "at_least_once"
    assert Wish(bootstrap_servers="kafka:9092").delivery == "exactly_once"


def test_the_weights_that_ship_are_used() -> None:
    assert Path(surroundings.WEIGHTS).is_file()
